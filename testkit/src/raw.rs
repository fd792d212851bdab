//! A client with nothing between the test and the wire: it sends bytes and shows each reply as the type it
//! came as. The redis crate folds `+OK`, `$-1`, `*-1` and `_` together; tests of exact replies must not.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::waiting::patient;

/// Default time limit of a read.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// A reply, one variant for each type on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2 `$-1`.
    NullBulk,
    /// RESP2 `*-1`.
    NullArray,
    Array(Vec<Raw>),
    /// RESP3 `_`.
    Null,
    Bool(bool),
    Double(f64),
    BigNumber(String),
    Verbatim {
        format: String,
        text: Vec<u8>,
    },
    Map(Vec<(Raw, Raw)>),
    Set(Vec<Raw>),
    Push(Vec<Raw>),
}

impl Raw {
    /// A bulk string, to compare with: `Raw::bulk("answer")`.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Raw {
        Raw::Bulk(bytes.as_ref().to_vec())
    }

    /// A simple string, to compare with: `Raw::simple("OK")`.
    pub fn simple(text: &str) -> Raw {
        Raw::Simple(text.to_owned())
    }
}

/// One TCP connection.
pub struct RawClient {
    stream: BufReader<TcpStream>,
}

impl RawClient {
    pub(super) fn connect(port: u16) -> RawClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect to the server");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        RawClient { stream: BufReader::new(stream) }
    }

    /// Switches to RESP3.
    pub fn resp3(mut self) -> RawClient {
        let hello = self.call(&["HELLO", "3"]);
        assert!(matches!(hello, Raw::Map(_)), "HELLO 3 gave {hello:?}");
        self
    }

    /// Sends one command and reads one reply.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Raw {
        self.send(args);
        self.read()
    }

    /// Sends one command without reading.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
            bytes.extend_from_slice(arg.as_ref());
            bytes.extend_from_slice(b"\r\n");
        }
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send to the server");
    }

    /// The next reply, which must come.
    #[track_caller]
    pub fn read(&mut self) -> Raw {
        let timeout = patient(REPLY_TIMEOUT);
        self.read_within(timeout).unwrap_or_else(|| panic!("no reply within {timeout:?}"))
    }

    /// The next reply, or None where none begins in exactly this time: for tests that want silence.
    #[track_caller]
    pub fn read_within(&mut self, timeout: Duration) -> Option<Raw> {
        self.set_timeout(timeout);
        match self.stream.fill_buf() {
            Ok(bytes) => assert!(!bytes.is_empty(), "the server closed the connection"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("read from the server: {error}"),
        }
        // A reply that has begun is read to its end.
        self.set_timeout(patient(REPLY_TIMEOUT));
        Some(self.parse())
    }

    /// Returns true if the server closes the connection within some seconds; skips replies before that.
    pub fn is_closed(&mut self) -> bool {
        self.set_timeout(patient(REPLY_TIMEOUT));
        match std::io::copy(&mut self.stream, &mut std::io::sink()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.stream.get_ref().set_read_timeout(Some(timeout)).expect("set the read time-out");
    }

    #[track_caller]
    fn parse(&mut self) -> Raw {
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        match kind {
            "+" => Raw::Simple(rest.to_owned()),
            "-" => Raw::Error(rest.to_owned()),
            ":" => Raw::Int(number(rest)),
            "$" if rest == "-1" => Raw::NullBulk,
            "$" => Raw::Bulk(self.bytes(number(rest))),
            "*" if rest == "-1" => Raw::NullArray,
            "*" => Raw::Array(self.items(number(rest))),
            "_" => Raw::Null,
            "#" => Raw::Bool(rest == "t"),
            "," => Raw::Double(rest.parse().unwrap_or_else(|_| panic!("not a double: {rest:?}"))),
            "(" => Raw::BigNumber(rest.to_owned()),
            "=" => {
                let bytes = self.bytes(number(rest));
                let format = String::from_utf8_lossy(&bytes[..3]).into_owned();
                Raw::Verbatim { format, text: bytes[4..].to_vec() }
            }
            "!" => {
                let bytes = self.bytes(number(rest));
                Raw::Error(String::from_utf8_lossy(&bytes).into_owned())
            }
            "%" => Raw::Map((0..number(rest)).map(|_| (self.parse(), self.parse())).collect()),
            "~" => Raw::Set(self.items(number(rest))),
            ">" => Raw::Push(self.items(number(rest))),
            _ => panic!("not a reply: {line:?}"),
        }
    }

    fn items(&mut self, count: i64) -> Vec<Raw> {
        (0..count).map(|_| self.parse()).collect()
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("read from the server");
        assert!(line.len() > 2 && line.ends_with(b"\r\n"), "the connection closed or garbled: {line:?}");
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }

    #[track_caller]
    fn bytes(&mut self, count: i64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(count).expect("a length") + 2];
        self.stream.read_exact(&mut bytes).expect("read from the server");
        assert!(bytes.ends_with(b"\r\n"), "a bulk string does not end with its line");
        bytes.truncate(bytes.len() - 2);
        bytes
    }
}

#[track_caller]
fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}
