//! Which command comes next.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::driver::{Driver, now_ms, some_tiers};
use super::model::DATABASES;
use super::ops::{Condition, Op, Ttl};
use super::requests::{Bytes, personas, users};

impl Driver {
    /// A command for this database.
    pub fn draw(&mut self, database: usize) -> Op {
        let any = self.rng.random_range(0..DATABASES);
        match self.rng.random_range(0..100) {
            0..36 => self.draw_set(),
            36..44 => Op::Get(self.request()),
            44..48 => Op::GetAny(self.request()),
            48..51 => Op::Delete(self.request()),
            51..53 => Op::Inspect(self.request()),
            53..57 => Op::Invalidate(self.some_of(personas())),
            57..60 => Op::Forget(self.some_of(users().split_off(1))),
            60 => Op::Flush(some_tiers(&mut self.rng)),
            61..66 => {
                let word = *["DEL", "UNLINK", "EXISTS"].choose(&mut self.rng).expect("a word");
                let count = self.rng.random_range(1..4);
                // EXISTS counts one twice that is named twice.
                let names: BTreeSet<Bytes> = (0..count).map(|_| self.name(database)).collect();
                Op::Count(word, names.into_iter().collect())
            }
            66..71 => Op::Rename(self.name(database), self.name(database)),
            71..74 => Op::RenameNx(self.name(database), self.name(database)),
            74..79 => {
                let (from, to) = (self.name(database), self.name(any));
                let target = self.chance(0.5).then_some(any);
                Op::Copy { from, to, database: target, replace: self.chance(0.6) }
            }
            79..82 => Op::Move(self.name(database), any),
            82 => Op::SwapDb(any, self.rng.random_range(0..DATABASES)),
            83..86 => self.draw_expire(database),
            86..88 => Op::Persist(self.name(database)),
            88 => Op::SetText(self.name(database), b"text".to_vec()),
            89 => Op::GetSet(self.name(database), b"another text".to_vec()),
            90..93 => Op::Dump(self.name(database)),
            93..98 => self.draw_restore(database),
            98 => match self.rng.random_range(0..8) {
                0..3 => Op::FlushDb(self.sync_or_async()),
                3 => Op::FlushAll(self.sync_or_async()),
                _ => Op::Get(self.request()),
            },
            _ => {
                if self.chance(0.5) {
                    Op::Reload
                } else {
                    Op::Get(self.request())
                }
            }
        }
    }

    fn draw_set(&mut self) -> Op {
        let request = self.request();
        let text = vec![b'a' + self.rng.random_range(0..26); self.rng.random_range(0..20)];
        let now = now_ms();
        let ttl = match self.rng.random_range(0..20) {
            0..4 => Ttl::Keep,
            4 => {
                let until = self.soon();
                Ttl::Given([b"PXAT".to_vec(), until.to_string().into_bytes()], until)
            }
            5 => Ttl::Given([b"EX".to_vec(), b"1000".to_vec()], now + 1_000_000),
            6 => Ttl::Given([b"px".to_vec(), b"2000000".to_vec()], now + 2_000_000),
            7 => {
                let until = now / 1000 + 3000;
                Ttl::Given([b"ExAt".to_vec(), until.to_string().into_bytes()], until * 1000)
            }
            _ => Ttl::Tier,
        };
        let condition = match self.rng.random_range(0..10) {
            0..2 => Condition::IfAbsent,
            2..4 => Condition::IfPresent,
            _ => Condition::Always,
        };
        Op::Set(request, text, ttl, condition)
    }

    fn draw_expire(&mut self, database: usize) -> Op {
        let (name, now) = (self.name(database), now_ms());
        match self.rng.random_range(0..5) {
            0 => Op::Expire(name, "EXPIRE", 1000, now + 1_000_000),
            1 => Op::Expire(name, "PEXPIRE", 1_000_000, now + 1_000_000),
            2 => Op::Expire(name, "EXPIRE", -1, now - 1000),
            _ => {
                let until = self.soon();
                Op::Expire(name, "PEXPIREAT", until, until)
            }
        }
    }

    fn draw_restore(&mut self, database: usize) -> Op {
        let Some((dump, value)) = self.shelf() else { return Op::Dump(self.name(database)) };
        let until = match self.rng.random_range(0..6) {
            0 => Some(now_ms() - 1000),
            1 => Some(self.soon()),
            2 => Some(now_ms() + 1_000_000),
            _ => None,
        };
        Op::Restore { name: self.name(database), dump, value, until, replace: self.chance(0.6) }
    }

    /// A time that comes during the test.
    fn soon(&mut self) -> i64 {
        now_ms() + self.rng.random_range(100..400)
    }

    fn some_of(&mut self, names: Vec<Bytes>) -> Vec<Bytes> {
        let count = if self.chance(0.8) { 1 } else { 2 };
        (0..count).map(|_| names.choose(&mut self.rng).expect("a name").clone()).collect()
    }

    fn sync_or_async(&mut self) -> &'static str {
        if self.chance(0.5) { "SYNC" } else { "ASYNC" }
    }
}
