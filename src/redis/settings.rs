//! Settings: numbers and choices that CONFIG GET, SET and REWRITE and the arguments of loadmodule know.

use crate::redis::api::OK;
use crate::redis::args::Args;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{self, RedisModuleString};
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_longlong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};

/// A setting with its bounds.
pub struct Setting {
    /// Its name after `chatcache.`.
    pub name: &'static CStr,
    pub min: i64,
    pub max: i64,
    pub unit: Unit,
    /// Holds the default until the server loads its configuration.
    pub value: AtomicI64,
}

/// How a setting's value is written.
#[derive(Clone, Copy)]
pub enum Unit {
    Plain,
    /// Bytes, with `kb`, `mb` and `gb` as in redis.conf.
    Bytes,
    /// One of these words, which the value counts from 0.
    Choice(&'static [&'static CStr]),
}

impl Setting {
    pub const fn new(name: &'static CStr, default: i64, min: i64, max: i64) -> Self {
        Setting { name, min, max, unit: Unit::Plain, value: AtomicI64::new(default) }
    }

    pub const fn bytes(name: &'static CStr, default: i64, min: i64, max: i64) -> Self {
        Setting { name, min, max, unit: Unit::Bytes, value: AtomicI64::new(default) }
    }

    /// A choice between words, of which the default is the one at that place.
    pub const fn choice(name: &'static CStr, default: i64, words: &'static [&'static CStr]) -> Self {
        let max = words.len() as i64 - 1;
        Setting { name, min: 0, max, unit: Unit::Choice(words), value: AtomicI64::new(default) }
    }

    /// Its value, as CONFIG GET says it.
    pub fn text(&self) -> String {
        let value = self.get();
        match self.unit {
            Unit::Plain | Unit::Bytes => value.to_string(),
            Unit::Choice(words) => usize::try_from(value)
                .ok()
                .and_then(|value| words.get(value))
                .map_or_else(String::new, |word| word.to_string_lossy().into_owned()),
        }
    }

    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Takes a value written as in redis.conf.
    fn parse(&self, text: &[u8]) -> Result<i64, String> {
        let name = self.name.to_string_lossy();
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
            // Written as CONFIG SET takes it: no plus, no leading zeros.
            Unit::Plain => text.parse().ok().filter(|value: &i64| value.to_string() == text),
            Unit::Bytes => parse_size(text),
            Unit::Choice(words) => words
                .iter()
                .position(|word| word.to_bytes().eq_ignore_ascii_case(text.as_bytes()))
                .and_then(|place| i64::try_from(place).ok()),
        };
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or_else(expected)
    }
}

/// A size as in redis.conf: `1k` is 1,000 bytes, `1kb` 1,024, and so on, in any case.
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

/// Takes loadmodule's arguments, `name value` pairs, with or without `chatcache.` before the name.
pub(super) fn take_arguments(settings: &[Setting], module: &CStr, args: Args<'_>) -> Result<(), String> {
    let mut words = args.from(0);
    while let Some(word) = words.next() {
        let prefix = module.to_bytes();
        let name = match word.split_at_checked(prefix.len()) {
            Some((start, [b'.', rest @ ..])) if start.eq_ignore_ascii_case(prefix) => rest,
            _ => word,
        };
        let setting = settings.iter().find(|setting| setting.name.to_bytes().eq_ignore_ascii_case(name));
        let Some(setting) = setting else {
            let known: Vec<_> = settings.iter().map(|setting| setting.name.to_string_lossy()).collect();
            let word = word.escape_ascii();
            return Err(format!("unknown setting '{word}' in loadmodule: known are {}", known.join(", ")));
        };
        let Some(value) = words.next() else {
            return Err(format!("the setting {} in loadmodule has no value", setting.name.to_string_lossy()));
        };
        setting.value.store(setting.parse(value)?, Ordering::Relaxed);
    }
    Ok(())
}

/// Registers the settings and has the server load what its configuration says of them.
pub(super) fn register(ctx: &Ctx<'_>, settings: &'static [Setting]) -> Result<(), String> {
    for setting in settings {
        let code = match setting.unit {
            Unit::Plain => register_number(ctx, setting, raw::REDISMODULE_CONFIG_DEFAULT),
            Unit::Bytes => register_number(ctx, setting, raw::REDISMODULE_CONFIG_MEMORY),
            Unit::Choice(words) => register_choice(ctx, setting, words),
        };
        if code != OK {
            return Err(format!("the server refused the setting {}", setting.name.to_string_lossy()));
        }
    }
    // SAFETY: called once, in the module's load.
    match unsafe { api!(RedisModule_LoadConfigs)(ctx.raw) } {
        OK => Ok(()),
        _ => Err("a setting in the configuration was refused".into()),
    }
}

fn register_number(ctx: &Ctx<'_>, setting: &'static Setting, flags: u32) -> c_int {
    // SAFETY: the setting is static; the callbacks below read it back from the private data.
    unsafe {
        api!(RedisModule_RegisterNumericConfig)(
            ctx.raw,
            setting.name.as_ptr(),
            setting.get(),
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

fn register_choice(ctx: &Ctx<'_>, setting: &'static Setting, words: &'static [&'static CStr]) -> c_int {
    let mut names: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    let values: Vec<c_int> = (0..).take(words.len()).collect();
    // SAFETY: as above; the server copies names and values.
    unsafe {
        api!(RedisModule_RegisterEnumConfig)(
            ctx.raw,
            setting.name.as_ptr(),
            setting.get() as c_int,
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

extern "C" fn get_choice(name: *const c_char, setting: *mut c_void) -> c_int {
    get_number(name, setting) as c_int
}

extern "C" fn set_choice(
    name: *const c_char,
    value: c_int,
    setting: *mut c_void,
    error: *mut *mut RedisModuleString,
) -> c_int {
    set_number(name, value.into(), setting, error)
}

extern "C" fn get_number(_: *const c_char, setting: *mut c_void) -> c_longlong {
    // SAFETY: the private data is a static `Setting`.
    guard::run("CONFIG GET", 0, || unsafe { setting.cast::<Setting>().as_ref() }.map_or(0, Setting::get))
}

extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    setting: *mut c_void,
    _: *mut *mut RedisModuleString,
) -> c_int {
    // SAFETY: as above. The server has checked the bounds.
    guard::run("CONFIG SET", (), || {
        if let Some(setting) = unsafe { setting.cast::<Setting>().as_ref() } {
            setting.value.store(value, Ordering::Relaxed);
        }
    });
    OK
}

/// A pointer to an optional C string, null for none.
pub(super) fn c_pointer(text: Option<&'static CStr>) -> *const c_char {
    text.map_or(ptr::null(), CStr::as_ptr)
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
