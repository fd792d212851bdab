//! The entry as a value type of the server: RDB, AOF, COPY, MEMORY, DEBUG DIGEST and defragmentation.

use crate::cache::CACHE;
use crate::cache::lookup::{is_softly_stale, read};
use crate::entry::codec::{self, Record, RecordEncoding, RecordRef, RecordState};
use crate::entry::compression;
use crate::entry::dump;
use crate::entry::{
    ALWAYS_FRESH, Encoding, Entry, Facts, NEVER_FRESH, Placement, RESPONSE_OVERHEAD, Response,
};
use crate::index::{NODE_BYTES, Origin, State};
use crate::keyspace::events;
use crate::redis::{Aof, DataType, Defrag, Digest, KeyContext, Loader, Saver, TypeSlot};
use crate::request::fingerprint::Fingerprint;
use crate::tier::Tier;
use std::borrow::Cow;
use std::ffi::CStr;
use std::sync::Arc;

static SLOT: TypeSlot = TypeSlot::empty();

const TYPE_NAME: &str = "chatcache";

impl Entry {
    /// Returns the entry's tier, persona, user and state. An entry that the index does not know is a tombstone without
    /// names.
    fn origin_in(&self, database: i32) -> Origin {
        let known = match self.handle() {
            Some(handle) => CACHE.with(|cache| cache.origin(database, handle)),
            None => self.origin(),
        };
        known.unwrap_or_else(|| Origin {
            tier: Tier::Msg,
            persona: Arc::default(),
            user: Arc::default(),
            state: State::Tombstone,
        })
    }

    /// Returns the header and the payload to save. A tombstone is saved without its response. The payload needs no
    /// dictionary, so any server with the module can read it.
    fn parts(&self, database: i32) -> (Vec<u8>, Cow<'_, [u8]>) {
        let origin = self.origin_in(database);
        let (state, encoding, payload) = match origin.state {
            State::Live => {
                let (encoding, payload) =
                    compression::portable(self.encoding(), self.stored(), self.raw_bytes() as usize);
                (RecordState::Live, encoding, payload)
            }
            State::Tombstone => (RecordState::Tombstone, RecordEncoding::Raw, Cow::Borrowed(&[][..])),
        };
        let header = codec::encode_header(&RecordRef {
            state,
            tier: origin.tier,
            persona: &origin.persona,
            user: &origin.user,
            fingerprint: *self.fingerprint().as_bytes(),
            stored_at_ms: self.stored_at_ms(),
            fresh_until_ms: match self.fresh_until_ms() {
                _ if is_softly_stale(database, self) => Some(NEVER_FRESH),
                ALWAYS_FRESH => None,
                until_ms => Some(until_ms),
            },
            hits: self.hits(),
            cost_ms: self.cost_ms(),
            raw_bytes: self.raw_bytes(),
            encoding,
        });
        (header, payload)
    }

    fn from_parts(record: Record, payload: Vec<u8>) -> Result<Self, String> {
        record.check_payload(payload.len()).map_err(|error| error.to_string())?;
        let state = match record.state {
            RecordState::Live => State::Live,
            RecordState::Tombstone => State::Tombstone,
        };
        let origin =
            Origin { tier: record.tier, persona: record.persona.into(), user: record.user.into(), state };
        let facts = Facts {
            fingerprint: Fingerprint::from_bytes(record.fingerprint),
            stored_at_ms: record.stored_at_ms,
            fresh_until_ms: record.fresh_until_ms.unwrap_or(ALWAYS_FRESH),
            cost_ms: record.cost_ms,
            hits: record.hits,
        };
        let encoding = Encoding::from(record.encoding);
        let response = match encoding == Encoding::Raw || state == State::Tombstone {
            true => Response::new(&facts, &payload),
            false => Response::compressed(&facts, encoding, &payload, record.raw_bytes),
        };
        // A damaged payload is found here, and not by the first reader.
        read(&response, |_| ()).map_err(|_| "its payload is damaged")?;
        Ok(Entry::new(Placement::Unlinked(Box::new(origin)), response))
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
        let entry = Entry::from_parts(record, payload)?;
        events::expect_arrival(&entry, loader.place());
        Ok(entry)
    }

    fn save(&self, database: i32, saver: &mut Saver) {
        let (header, payload) = self.parts(database);
        saver.bytes(&header);
        saver.bytes(&payload);
    }

    fn rewrite(&self, place: KeyContext<'_>, aof: &mut Aof) {
        if self.origin_in(place.database).state == State::Tombstone {
            return;
        }
        let (header, response) = self.parts(place.database);
        let type_id = dump::type_id(TYPE_NAME, codec::ENCODING_VERSION as u16);
        aof.restore(place.key, &dump::restore_payload(type_id, &[&header, &response]));
    }

    fn unlinked(&self, place: KeyContext<'_>) {
        let database = place.database;
        let Some(handle) = self.handle() else { return };
        // The index forgets that the entry was made stale, so the entry itself keeps that.
        if is_softly_stale(database, self) {
            self.make_stale();
        }
        let origin = CACHE.with(|cache| {
            cache.forget(database, self);
            cache.index(database).unlink(handle, self.size())
        });
        // An entry that the index does not know stays as it is: its outdated handle is live nowhere.
        if let Some(origin) = origin {
            events::left(place, &origin, self.fingerprint());
            self.move_to(Placement::Unlinked(Box::new(origin)));
        }
    }

    fn copied(&self, from_database: i32) -> Self {
        let copy = self.copy(Placement::Unlinked(Box::new(self.origin_in(from_database))));
        if is_softly_stale(from_database, self) {
            copy.make_stale();
        }
        copy
    }

    fn memory(&self) -> usize {
        size_of::<Entry>() + RESPONSE_OVERHEAD + self.stored().len() + NODE_BYTES
    }

    fn digest(&self, database: i32, digest: &mut Digest) {
        let origin = self.origin_in(database);
        digest.bytes(self.fingerprint().as_bytes());
        digest.bytes(origin.tier.name().as_bytes());
        digest.bytes(&origin.persona);
        digest.bytes(&origin.user);
        if origin.state == State::Live {
            // The response's bytes, whatever their encoding in memory.
            let _ = read(self, |response| digest.bytes(response));
        }
    }

    fn defrag(&mut self, database: i32, defrag: &mut Defrag) {
        // A response that others share stays where it is; the request table gives up its share for a moment.
        CACHE.with(|cache| cache.relocate(database, self.response_mut(), |response| response.defrag(defrag)));
    }
}
