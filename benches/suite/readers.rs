//! Thousands of connections of one thread, each of which reads one response as it comes.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use testkit::bench::server::{PATIENCE, Server};

/// A reply of the server.
pub enum Reply {
    Bytes(Vec<u8>),
    Number(i64),
    Null,
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a text.
    ///
    /// # Panics
    /// The reply is no text.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bytes(bytes) => bytes,
            _ => panic!("the server replied something else than text"),
        }
    }

    /// The reply at the beginning of some bytes, and its length; None if its end has not come yet.
    fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
        let kind = bytes.first()?;
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let (head, mut at) = (&bytes[1..end], end + 2);
        let number = || -> i64 { std::str::from_utf8(head).expect("a number").parse().expect("a number") };
        let reply = match kind {
            b'+' => Reply::Bytes(head.to_vec()),
            b':' => Reply::Number(number()),
            b'$' | b'*' if head == b"-1" => Reply::Null,
            b'$' => {
                let length = number() as usize;
                let text = bytes.get(at..at + length + 2)?;
                at += length + 2;
                Reply::Bytes(text[..length].to_vec())
            }
            b'*' => {
                let mut elements = Vec::new();
                for _ in 0..number() {
                    let (element, length) = Reply::parse(&bytes[at..])?;
                    elements.push(element);
                    at += length;
                }
                Reply::Array(elements)
            }
            _ => panic!("the server replied {}", String::from_utf8_lossy(&bytes[..end])),
        };
        Some((reply, at))
    }
}

/// The next act of a reader after a reply.
pub enum Next {
    Ask(Vec<u8>),
    AskAfter(Vec<u8>),
    End,
}

/// The way in which readers get the response.
pub trait Way: Sync {
    /// The delay of `AskAfter`.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn begin(&self) -> Vec<u8>;

    /// Adds what the reply has of the response to the text.
    fn take(&self, reply: Reply, text: &mut Vec<u8>) -> Next;
}

/// The response as a reader has seen it.
pub struct Seen {
    pub text: Vec<u8>,
    pub first: Option<Instant>,
    pub end: Instant,
    /// Replies with a piece of the response.
    pub parts: u32,
}

struct Reader {
    stream: TcpStream,
    input: Vec<u8>,
    later: Vec<u8>,
    seen: Seen,
}

/// Lets this number of readers read the response. Each has asked when `asked` is called.
pub fn read<W: Way>(server: &Server, count: usize, way: &W, asked: impl FnOnce()) -> Vec<Seen> {
    let mut poll = Poll::new().expect("an epoll");
    let mut readers: Vec<Reader> = (0..count)
        .map(|at| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("connect a reader");
            stream.set_nodelay(true).expect("set TCP_NODELAY");
            stream.set_nonblocking(true).expect("make a socket non-blocking");
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE).expect("register a reader");
            let seen = Seen { text: Vec::new(), first: None, end: Instant::now(), parts: 0 };
            Reader { stream, input: Vec::new(), later: Vec::new(), seen }
        })
        .collect();
    for reader in &mut readers {
        reader.stream.write_all(&way.begin()).expect("send a reader's command");
    }
    asked();
    let (mut events, mut later, mut left) = (Events::with_capacity(1024), VecDeque::new(), count);
    let mut buffer = vec![0; 64 << 10];
    let begun = Instant::now();
    while left > 0 {
        assert!(begun.elapsed() < PATIENCE, "{left} of {count} readers have no end");
        let timeout =
            later.front().map(|(at, _): &(Instant, usize)| at.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, Some(timeout.unwrap_or(Duration::from_millis(100)))).expect("epoll");
        for event in &events {
            let reader = &mut readers[event.token().0];
            loop {
                match reader.stream.read(&mut buffer) {
                    Ok(0) => panic!("the server closed a reader's connection"),
                    Ok(length) => reader.input.extend_from_slice(&buffer[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("read from the server: {error}"),
                }
            }
            while let Some((reply, length)) = Reply::parse(&reader.input) {
                reader.input.drain(..length);
                let before = reader.seen.text.len();
                let next = way.take(reply, &mut reader.seen.text);
                if reader.seen.text.len() > before {
                    reader.seen.first.get_or_insert_with(Instant::now);
                    reader.seen.parts += 1;
                }
                match next {
                    Next::Ask(command) => reader.stream.write_all(&command).expect("send a reader's command"),
                    Next::AskAfter(command) => {
                        reader.later = command;
                        later.push_back((Instant::now() + way.delay(), event.token().0));
                    }
                    Next::End => {
                        reader.seen.end = Instant::now();
                        left -= 1;
                    }
                }
            }
        }
        while let Some((_, at)) = later.front().copied().filter(|(at, _)| *at <= Instant::now()) {
            later.pop_front();
            let reader = &mut readers[at];
            let command = std::mem::take(&mut reader.later);
            reader.stream.write_all(&command).expect("send a reader's command");
        }
    }
    readers.into_iter().map(|reader| reader.seen).collect()
}
