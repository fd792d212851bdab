//! Settings: numbers and choices for CONFIG GET, SET and REWRITE and for the arguments of loadmodule.
//!
//! A `Setting<T>` is a static with its name, default, range and type. The server and the list of all settings
//! see it as an `AnySetting`, whose value is an integer.

use crate::redis::api::{OK, api};
use crate::redis::args::Args;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{self, RedisModuleString};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_longlong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};

/// A setting that reads as a `T`: an integer or a `Choice`.
pub struct Setting<T> {
    any: AnySetting,
    value: PhantomData<fn() -> T>,
}

/// A setting without its type.
pub struct AnySetting {
    /// The name after `chatcache.`.
    name: &'static CStr,
    min: i64,
    max: i64,
    unit: Unit,
    /// The default until the server loads its configuration.
    value: AtomicI64,
}

/// The way a setting's value is written.
#[derive(Clone, Copy)]
enum Unit {
    Plain,
    /// Bytes, with `kb`, `mb` and `gb` as in redis.conf.
    Bytes,
    /// One of these words; the value is its position.
    Choice(&'static [&'static CStr]),
}

/// The type of a setting's value.
pub trait SettingValue {
    /// Returns the value for the stored integer, which is in the setting's range.
    fn from_stored(stored: i64) -> Self;
}

/// A type with a word for each of its values.
pub trait Choice: SettingValue {
    /// The words; the stored integer is the position of one.
    const WORDS: &'static [&'static CStr];
}

impl SettingValue for i64 {
    fn from_stored(stored: i64) -> Self {
        stored
    }
}

impl SettingValue for u64 {
    fn from_stored(stored: i64) -> Self {
        stored.unsigned_abs()
    }
}

impl SettingValue for usize {
    fn from_stored(stored: i64) -> Self {
        usize::try_from(stored).unwrap_or(usize::MAX)
    }
}

impl<T> Setting<T> {
    /// A number from `min` to `max`.
    ///
    /// # Panics
    /// If the default is out of range; in a static, the compiler reports that.
    pub const fn number(name: &'static CStr, default: i64, min: i64, max: i64) -> Self {
        Self::new(name, default, (min, max), Unit::Plain)
    }

    /// A size in bytes from `min` to `max`.
    ///
    /// # Panics
    /// If the default is out of range; in a static, the compiler reports that.
    pub const fn bytes(name: &'static CStr, default: i64, min: i64, max: i64) -> Self {
        Self::new(name, default, (min, max), Unit::Bytes)
    }

    const fn new(name: &'static CStr, default: i64, (min, max): (i64, i64), unit: Unit) -> Self {
        assert!(min <= default && default <= max, "a setting's default is out of its range");
        let any = AnySetting { name, min, max, unit, value: AtomicI64::new(default) };
        Setting { any, value: PhantomData }
    }

    /// Returns the setting without its type.
    pub const fn any(&self) -> &AnySetting {
        &self.any
    }
}

impl<T: Choice> Setting<T> {
    /// A choice between the words of `T`; the default is the position of one.
    ///
    /// # Panics
    /// If the default is no position of a word; in a static, the compiler reports that.
    pub const fn choice(name: &'static CStr, default: i64) -> Self {
        Self::new(name, default, (0, T::WORDS.len() as i64 - 1), Unit::Choice(T::WORDS))
    }
}

impl<T: SettingValue> Setting<T> {
    /// Returns the value.
    pub fn get(&self) -> T {
        T::from_stored(self.any.stored())
    }
}

impl AnySetting {
    /// Returns the name after `chatcache.`.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Returns the value as CONFIG GET shows it.
    pub fn text(&self) -> String {
        let value = self.stored();
        match self.unit {
            Unit::Plain | Unit::Bytes => value.to_string(),
            Unit::Choice(words) => usize::try_from(value)
                .ok()
                .and_then(|value| words.get(value))
                .map_or_else(String::new, |word| word.to_string_lossy().into_owned()),
        }
    }

    fn stored(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Reads a value written as in redis.conf. The error says what the setting takes.
    fn parse(&self, text: &[u8]) -> Result<i64, String> {
        let name = self.name();
        let expected = || match self.unit {
            Unit::Plain => format!("{name} takes a whole number from {} to {}", self.min, self.max),
            Unit::Bytes => {
                format!("{name} takes a size from {} to {} bytes, such as 16mb", self.min, self.max)
            }
            Unit::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                format!("{name} takes one of {}", words.join(", "))
            }
        };
        let text = std::str::from_utf8(text).map_err(|_| expected())?;
        let value = match self.unit {
            // CONFIG SET takes no plus and no leading zeros either.
            Unit::Plain => text.parse().ok().filter(|value: &i64| value.to_string() == text),
            Unit::Bytes => parse_size(text),
            Unit::Choice(words) => words
                .iter()
                .position(|word| word.to_bytes().eq_ignore_ascii_case(text.as_bytes()))
                .and_then(|position| i64::try_from(position).ok()),
        };
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or_else(expected)
    }
}

/// Reads a size as in redis.conf, in any case: `1k` is 1,000 bytes, `1kb` 1,024, and so on.
fn parse_size(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1000 * 1000,
        "mb" => 1024 * 1024,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Takes loadmodule's arguments: `name value` pairs, with or without `chatcache.` before the name.
pub(super) fn take_arguments(settings: &[&AnySetting], module: &CStr, args: Args<'_>) -> Result<(), String> {
    let mut words = args.from(0);
    while let Some(word) = words.next() {
        let prefix = module.to_bytes();
        let name = match word.split_at_checked(prefix.len()) {
            Some((start, [b'.', rest @ ..])) if start.eq_ignore_ascii_case(prefix) => rest,
            _ => word,
        };
        let setting = settings.iter().find(|setting| setting.name.to_bytes().eq_ignore_ascii_case(name));
        let Some(setting) = setting else {
            let known: Vec<_> = settings.iter().map(|setting| setting.name()).collect();
            let word = word.escape_ascii();
            return Err(format!("unknown setting '{word}' in loadmodule: known are {}", known.join(", ")));
        };
        let Some(value) = words.next() else {
            return Err(format!("the setting {} in loadmodule has no value", setting.name()));
        };
        setting.value.store(setting.parse(value)?, Ordering::Relaxed);
    }
    Ok(())
}

/// Registers the settings, and makes the server load its configuration's values for them.
pub(super) fn register(ctx: &Ctx<'_>, settings: &[&'static AnySetting]) -> Result<(), String> {
    for setting in settings {
        let code = match setting.unit {
            Unit::Plain => register_number(ctx, setting, raw::REDISMODULE_CONFIG_DEFAULT),
            Unit::Bytes => register_number(ctx, setting, raw::REDISMODULE_CONFIG_MEMORY),
            Unit::Choice(words) => register_choice(ctx, setting, words),
        };
        if code != OK {
            return Err(format!("the server refused the setting {}", setting.name()));
        }
    }
    // SAFETY: the context is that of the module's load, in which this is called once.
    match unsafe { api!(RedisModule_LoadConfigs)(ctx.raw()) } {
        OK => Ok(()),
        _ => Err("a setting in the configuration was refused".into()),
    }
}

fn register_number(ctx: &Ctx<'_>, setting: &'static AnySetting, flags: u32) -> c_int {
    // SAFETY: the context is valid; the server copies the name. The private data is a static `AnySetting`,
    // which the callbacks read it as.
    unsafe {
        api!(RedisModule_RegisterNumericConfig)(
            ctx.raw(),
            setting.name.as_ptr(),
            setting.stored(),
            flags,
            setting.min,
            setting.max,
            Some(get_number),
            Some(set_number),
            None,
            ptr::from_ref(setting).cast_mut().cast(),
        )
    }
}

fn register_choice(ctx: &Ctx<'_>, setting: &'static AnySetting, words: &'static [&'static CStr]) -> c_int {
    let mut names: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    let values: Vec<c_int> = (0..).take(words.len()).collect();
    // SAFETY: the context is valid; the server copies the name, and as many words and values as the length
    // says. The private data is a static `AnySetting`, which the callbacks read it as.
    unsafe {
        api!(RedisModule_RegisterEnumConfig)(
            ctx.raw(),
            setting.name.as_ptr(),
            setting.stored() as c_int,
            raw::REDISMODULE_CONFIG_DEFAULT,
            names.as_mut_ptr(),
            values.as_ptr(),
            words.len() as c_int,
            Some(get_choice),
            Some(set_choice),
            None,
            ptr::from_ref(setting).cast_mut().cast(),
        )
    }
}

/// # Safety
/// Only the server may call this, with an `AnySetting` as the private data.
unsafe extern "C" fn get_choice(name: *const c_char, setting: *mut c_void) -> c_int {
    // SAFETY: the contracts are the same.
    let position = unsafe { get_number(name, setting) };
    position as c_int
}

/// # Safety
/// Only the server may call this, with an `AnySetting` as the private data.
unsafe extern "C" fn set_choice(
    name: *const c_char,
    value: c_int,
    setting: *mut c_void,
    error: *mut *mut RedisModuleString,
) -> c_int {
    // SAFETY: the contracts are the same.
    unsafe { set_number(name, value.into(), setting, error) }
}

/// # Safety
/// Only the server may call this, with an `AnySetting` as the private data.
unsafe extern "C" fn get_number(_: *const c_char, setting: *mut c_void) -> c_longlong {
    // SAFETY: the private data is a static `AnySetting`, by this function's contract.
    let setting = unsafe { setting.cast::<AnySetting>().as_ref() };
    guard::run("CONFIG GET", 0, || setting.map_or(0, AnySetting::stored))
}

/// # Safety
/// Only the server may call this, with an `AnySetting` as the private data.
unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    setting: *mut c_void,
    _: *mut *mut RedisModuleString,
) -> c_int {
    // SAFETY: the private data is a static `AnySetting`, by this function's contract.
    let setting = unsafe { setting.cast::<AnySetting>().as_ref() };
    guard::run("CONFIG SET", (), || {
        // The server has checked the range.
        if let Some(setting) = setting {
            setting.value.store(value, Ordering::Relaxed);
        }
    });
    OK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_conf_reads_them() {
        assert_eq!(parse_size("1024"), Some(1024));
        assert_eq!(parse_size("1k"), Some(1000));
        assert_eq!(parse_size("16MB"), Some(16 * 1024 * 1024));
        assert_eq!(parse_size("1gb"), Some(1 << 30));
        for bad in ["", "mb", "-1", "1.5mb", "1tb", "9999999999999gb", "1 mb"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
