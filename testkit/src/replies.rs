//! Short words for talking through the redis crate, and for looking into its replies.

use std::borrow::Cow;
use std::collections::BTreeMap;

use redis::{ConnectionLike, RedisError, RedisResult, Value};

/// An argument of a command: text, bytes or a whole number.
pub trait Arg {
    fn bytes(&self) -> Cow<'_, [u8]>;
}

macro_rules! arg_of_bytes {
    ($($t:ty),*) => {$(
        impl Arg for $t {
            fn bytes(&self) -> Cow<'_, [u8]> { Cow::Borrowed(self.as_ref()) }
        }
    )*};
}
arg_of_bytes!(str, String, [u8], Vec<u8>);

macro_rules! arg_of_number {
    ($($t:ty),*) => {$(
        impl Arg for $t {
            fn bytes(&self) -> Cow<'_, [u8]> { Cow::Owned(self.to_string().into_bytes()) }
        }
    )*};
}
arg_of_number!(i32, i64, u16, u32, u64, usize);

impl<const N: usize> Arg for [u8; N] {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl<T: Arg + ?Sized> Arg for &T {
    fn bytes(&self) -> Cow<'_, [u8]> {
        (**self).bytes()
    }
}

/// The arguments of one command, of any mix of kinds: `args!["SET", key, b"\xff", 5]`.
#[macro_export]
macro_rules! args {
    ($($arg:expr),+ $(,)?) => {
        [$($crate::Arg::bytes(&$arg).into_owned()),+]
    };
}
/// Sends one command: `cmd(&mut con, &["GET", "key"])` or `cmd(&mut con, &args!["SET", "key", 5])`.
pub fn cmd<A: AsRef<[u8]>>(con: &mut impl ConnectionLike, args: &[A]) -> RedisResult<Value> {
    let mut command = redis::Cmd::new();
    for arg in args {
        command.arg(arg.as_ref());
    }
    command.query(con)
}

/// The reply of a command that must succeed.
#[track_caller]
pub fn ask<A: AsRef<[u8]>>(con: &mut impl ConnectionLike, args: &[A]) -> Value {
    cmd(con, args).unwrap_or_else(|error| panic!("{}: {error}", shown(args)))
}

/// A command in words, for messages.
pub(crate) fn shown<A: AsRef<[u8]>>(args: &[A]) -> String {
    args.iter().map(|arg| String::from_utf8_lossy(arg.as_ref())).collect::<Vec<_>>().join(" ")
}

/// The error as it is on the wire, without its `-`: code, space, text.
pub fn error_text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

/// Asserts an error reply with `text` somewhere in it (as on the wire), and gives the whole of it.
#[track_caller]
pub fn expect_error(result: RedisResult<Value>, text: &str) -> String {
    match result {
        Ok(value) => panic!("expected an error with {text:?}, got {value:?}"),
        Err(error) => {
            let whole = error_text(&error);
            assert!(whole.contains(text), "expected an error with {text:?}, got {whole:?}");
            whole
        }
    }
}

/// Text or bytes or a number of a reply as a String; bytes that are not UTF-8 are replaced.
#[track_caller]
pub fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        other => panic!("expected text, got {other:?}"),
    }
}

/// A map reply, by name: RESP3's map or RESP2's flat array. A name that comes twice fails.
#[track_caller]
pub fn map_of(value: Value) -> BTreeMap<String, Value> {
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        Value::Array(items) => {
            assert!(items.len() % 2 == 0, "expected a map, got an odd array {items:?}");
            let mut items = items.into_iter();
            std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
        }
        other => panic!("expected a map, got {other:?}"),
    };
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        let name = text(&name);
        let before = map.insert(name.clone(), value);
        assert!(before.is_none(), "{name:?} comes twice in the map");
    }
    map
}

/// Number of replicas with the connection's last write, after a short wait for `replicas`; 0 on an error.
pub fn kept_by(con: Option<&mut impl ConnectionLike>, replicas: usize) -> usize {
    match con.map(|con| cmd(con, &args!["WAIT", replicas, 300])) {
        Some(Ok(Value::Int(kept))) => usize::try_from(kept).unwrap_or(0),
        _ => 0,
    }
}

/// All fields of one section of INFO.
#[track_caller]
pub fn info(con: &mut impl ConnectionLike, section: &str) -> BTreeMap<String, String> {
    let reply = cmd(con, &["INFO", section]).expect("INFO");
    text(&reply)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// One field of INFO; it must be there.
#[track_caller]
pub fn info_field(con: &mut impl ConnectionLike, section: &str, field: &str) -> String {
    let mut fields = info(con, section);
    match fields.remove(field) {
        Some(value) => value,
        None => panic!("INFO {section} has no {field}, only {:?}", fields.keys().collect::<Vec<_>>()),
    }
}
