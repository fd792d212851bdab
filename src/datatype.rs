//! The entry as a value type of the server: RDB, AOF, COPY, MEMORY, DEBUG DIGEST and defragmentation.

use crate::cache::{self, CACHE};
use crate::codec::{self, Record, RecordRef, RecordState};
use crate::entry::{ALWAYS_FRESH, Entry, Home, NEVER_FRESH};
use crate::fingerprint::Fingerprint;
use crate::index::{NODE_BYTES, Origin, State};
use crate::keyspace;
use crate::payload;
use crate::redis::{Aof, DataType, Defrag, Digest, Loader, Place, Saver, TypeSlot};
use crate::tier::Tier;
use std::ffi::CStr;
use std::sync::Arc;

static SLOT: TypeSlot = TypeSlot::empty();

const TYPE_NAME: &str = "chatcache";

impl Entry {
    /// Whose the entry is. One that the index does not know is nobody's, and so dropped.
    fn origin(&self, database: i32) -> Origin {
        let known = match self.home() {
            Home::Loose(origin) => Some(*origin),
            Home::Linked(handle) => CACHE.with(|cache| cache.origin(database, handle)),
        };
        known.unwrap_or_else(|| Origin {
            tier: Tier::Msg,
            persona: Arc::default(),
            user: Arc::default(),
            state: State::Dropped,
        })
    }

    /// Header and payload, as they are saved. What is dropped is saved without its answer.
    fn parts(&self, database: i32) -> (Vec<u8>, &[u8]) {
        let origin = self.origin(database);
        let (state, payload) = match origin.state {
            State::Live => (RecordState::Live, &*self.payload),
            State::Dropped => (RecordState::Dropped, &[][..]),
        };
        let header = codec::encode_header(&RecordRef {
            state,
            tier: origin.tier,
            persona: &origin.persona,
            user: &origin.user,
            fingerprint: *self.fingerprint.as_bytes(),
            stored_at_ms: self.stored_at_ms,
            fresh_until_ms: match self.fresh_until_ms.get() {
                _ if cache::is_softly_stale(database, self) => Some(NEVER_FRESH),
                ALWAYS_FRESH => None,
                until_ms => Some(until_ms),
            },
            hits: self.hits.get(),
            cost_ms: self.cost_ms,
            raw_bytes: self.raw_bytes,
            encoding: self.encoding,
        });
        (header, payload)
    }

    fn from_parts(record: Record, payload: Vec<u8>) -> Result<Self, codec::CodecError> {
        record.check_payload(payload.len())?;
        let state = match record.state {
            RecordState::Live => State::Live,
            RecordState::Dropped => State::Dropped,
        };
        let origin =
            Origin { tier: record.tier, persona: record.persona.into(), user: record.user.into(), state };
        let fingerprint = Fingerprint::from_bytes(record.fingerprint);
        let home = Home::Loose(Box::new(origin));
        let mut entry = Entry::new(home, fingerprint, payload.into_boxed_slice(), record.stored_at_ms);
        entry.hits.set(record.hits);
        entry.fresh_until_ms.set(record.fresh_until_ms.unwrap_or(ALWAYS_FRESH));
        entry.cost_ms = record.cost_ms;
        entry.raw_bytes = record.raw_bytes;
        entry.encoding = record.encoding;
        Ok(entry)
    }
}

impl DataType for Entry {
    const NAME: &'static CStr = c"chatcache";
    const ENCODING_VERSION: i32 = codec::ENCODING_VERSION;

    fn slot() -> &'static TypeSlot {
        &SLOT
    }

    fn load(loader: &mut Loader, version: i32) -> Result<Self, String> {
        let header = loader.bytes()?;
        let record = codec::decode_header(version, &header).map_err(|error| error.to_string())?;
        let payload = loader.bytes()?;
        let entry = Entry::from_parts(record, payload).map_err(|error| error.to_string())?;
        keyspace::expect_arrival();
        Ok(entry)
    }

    fn save(&self, database: i32, saver: &mut Saver) {
        let (header, payload) = self.parts(database);
        saver.bytes(&header);
        saver.bytes(payload);
    }

    fn rewrite(&self, place: Place<'_>, aof: &mut Aof) {
        if self.origin(place.database).state == State::Dropped {
            return;
        }
        let (header, answer) = self.parts(place.database);
        let type_id = payload::type_id(TYPE_NAME, codec::ENCODING_VERSION as u16);
        aof.restore(place.key, &payload::restore_payload(type_id, &[&header, answer]));
    }

    fn unlinked(&self, place: Place<'_>) {
        let database = place.database;
        let Some(handle) = self.handle() else { return };
        // The index forgets that it was made stale; the entry takes that with it.
        if cache::is_softly_stale(database, self) {
            self.fresh_until_ms.set(NEVER_FRESH);
        }
        let origin = CACHE.with(|cache| cache.index(database).unlink(handle, self.stored_bytes()));
        // An index that was emptied, or never knew the entry, has nothing to say of it: then it stays as it is,
        // and is not live anywhere.
        if let Some(origin) = origin {
            keyspace::left(place, &origin, &self.fingerprint);
            self.move_to(Home::Loose(Box::new(origin)));
        }
    }

    fn copied(&self, from_database: i32) -> Self {
        let copy = self.copy(Home::Loose(Box::new(self.origin(from_database))));
        if cache::is_softly_stale(from_database, self) {
            copy.fresh_until_ms.set(NEVER_FRESH);
        }
        copy
    }

    fn memory(&self) -> usize {
        size_of::<Entry>() + self.payload.len() + NODE_BYTES
    }

    fn digest(&self, database: i32, digest: &mut Digest) {
        let origin = self.origin(database);
        digest.bytes(self.fingerprint.as_bytes());
        digest.bytes(origin.tier.name().as_bytes());
        digest.bytes(&origin.persona);
        digest.bytes(&origin.user);
        if origin.state == State::Live {
            digest.bytes(&self.payload);
        }
    }

    fn defrag(&mut self, defrag: &mut Defrag) {
        defrag.boxed(&mut self.payload);
    }
}
