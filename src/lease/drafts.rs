//! The drafts: texts that grow with the APPENDs of a lease's holder, and those that have become a response.
//!
//! A growing draft belongs to one lease and dies with it. A committed one is remembered for the length of its lease, so
//! that a reader that comes back late gets the rest; an invalidation forgets it at once, and the end of the holder's
//! connection does not. The name of a draft is a random ID of its own, as the token would let its readers store a
//! response.
//!
//! Invariants: `by_name` leads to every growing draft; at most `MAX_KEPT` committed drafts whose readers have all been
//! told are remembered, with at most `MAX_KEPT_BYTES` together. `kept_until` has these and no others, so a draft is in
//! memory until each of its readers has the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, RandomState};

use hashbrown::HashMap;

use super::draft_text::{DraftPart, DraftText};
use super::flights::Scope;
use super::ids::{FlightId, IdMap, LeaseId, most_bytes, trim};
use super::types::{DraftName, LeaseKey};

/// Committed drafts that are remembered.
const MAX_KEPT: usize = 1000;
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The growing draft of one lease.
pub(super) struct Draft {
    pub name: DraftName,
    pub flight: FlightId,
    pub text: DraftText,
    /// The last time that readers were woken.
    woken_at_ms: Option<i64>,
    /// While readers are being woken: the length that they wait beyond.
    waking: Option<usize>,
    /// When readers are next to be woken, if there is anything for them.
    due_at_ms: Option<i64>,
    /// Milliseconds between two wakes of readers.
    pace_ms: i64,
}

struct Kept {
    lease_key: LeaseKey,
    name: DraftName,
    scopes: Vec<Scope>,
    text: DraftText,
    until_ms: i64,
}

/// Leases by what they are for.
struct LeasesBy<K>(HashMap<K, BTreeSet<LeaseId>, RandomState>);

impl<K: Copy + Eq + Hash> LeasesBy<K> {
    fn insert(&mut self, of: K, lease: LeaseId) {
        self.0.entry(of).or_default().insert(lease);
    }

    fn remove(&mut self, of: &K, lease: LeaseId) {
        if let Some(leases) = self.0.get_mut(of) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.0.remove(of);
            }
        }
    }

    /// Returns those with smaller IDs than `before`.
    fn before(&self, of: &K, before: LeaseId) -> Vec<LeaseId> {
        self.0.get(of).into_iter().flat_map(|leases| leases.range(..before)).copied().collect()
    }

    #[cfg(any(test, fuzzing))]
    fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    fn heap_bytes(&self) -> usize {
        self.0.allocation_size()
            + self.0.values().map(|leases| most_bytes::<LeaseId>(leases.len())).sum::<usize>()
    }
}

pub(super) struct Drafts {
    growing: IdMap<LeaseId, Draft>,
    by_name: HashMap<DraftName, LeaseId, RandomState>,
    /// Drafts whose readers are to be woken.
    due: BTreeSet<(i64, LeaseId)>,
    kept: BTreeMap<LeaseId, Kept>,
    kept_by_name: HashMap<DraftName, LeaseId, RandomState>,
    kept_by_scope: LeasesBy<Scope>,
    kept_by_key: LeasesBy<LeaseKey>,
    kept_until: BTreeSet<(i64, LeaseId)>,
    bytes: usize,
    kept_bytes: usize,
    /// Bytes of the drafts in `kept_until`.
    told_bytes: usize,
}

impl Drafts {
    pub fn new() -> Drafts {
        Drafts {
            growing: IdMap::default(),
            by_name: HashMap::default(),
            due: BTreeSet::new(),
            kept: BTreeMap::new(),
            kept_by_name: HashMap::default(),
            kept_by_scope: LeasesBy(HashMap::default()),
            kept_by_key: LeasesBy(HashMap::default()),
            kept_until: BTreeSet::new(),
            bytes: 0,
            kept_bytes: 0,
            told_bytes: 0,
        }
    }

    /// The number of growing drafts.
    pub fn len(&self) -> usize {
        self.growing.len()
    }

    /// Bytes of all texts, growing and remembered.
    pub fn bytes(&self) -> usize {
        self.bytes + self.kept_bytes
    }

    pub fn get(&self, lease: LeaseId) -> Option<&Draft> {
        self.growing.get(&lease)
    }

    pub fn find(&self, name: &DraftName) -> Option<(LeaseId, &Draft)> {
        let lease = *self.by_name.get(name)?;
        Some((lease, self.growing.get(&lease)?))
    }

    /// The rest of a committed draft from an offset on.
    pub fn rest(&self, name: &DraftName, lease_key: &LeaseKey, offset: usize) -> Option<DraftPart> {
        let kept = self.kept.get(self.kept_by_name.get(name)?)?;
        if kept.lease_key != *lease_key {
            return None;
        }
        kept.text.part(offset)
    }

    /// The rest of a committed draft for one of the readers that waited at its end.
    pub fn rest_of(&self, lease: LeaseId, offset: usize) -> Option<DraftPart> {
        self.kept.get(&lease)?.text.part(offset)
    }

    pub fn begin(&mut self, lease: LeaseId, flight: FlightId, name: DraftName) {
        self.by_name.insert(name, lease);
        let text = DraftText::default();
        let draft =
            Draft { name, flight, text, woken_at_ms: None, waking: None, due_at_ms: None, pace_ms: 0 };
        self.growing.insert(lease, draft);
    }

    /// Appends a piece, and has the readers woken no sooner than `pace_ms` after the last time. Returns the length.
    pub fn append(&mut self, lease: LeaseId, piece: &[u8], now_ms: i64, pace_ms: i64) -> Option<usize> {
        let draft = self.growing.get_mut(&lease)?;
        draft.text.push(piece);
        draft.pace_ms = pace_ms;
        self.bytes += piece.len();
        if !piece.is_empty() && draft.due_at_ms.is_none() {
            let at_ms =
                draft.woken_at_ms.map_or(now_ms, |woken_ms| now_ms.max(woken_ms.saturating_add(pace_ms)));
            draft.due_at_ms = Some(at_ms);
            self.due.insert((at_ms, lease));
        }
        Some(draft.text.len())
    }

    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    pub fn next_kept_until(&self) -> Option<i64> {
        self.kept_until.first().map(|(at_ms, _)| *at_ms)
    }

    /// The draft whose readers are to be woken, with the length that they wait beyond.
    pub fn due(&mut self, now_ms: i64) -> Option<(LeaseId, FlightId, usize)> {
        let (_, lease) = *self.due.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        let draft = self.growing.get_mut(&lease)?;
        let length = draft.text.len();
        Some((lease, draft.flight, *draft.waking.get_or_insert(length)))
    }

    /// Returns true if readers of the draft are being woken, or are to be.
    pub fn is_due(&self, lease: LeaseId, now_ms: i64) -> bool {
        let draft = self.growing.get(&lease);
        draft.and_then(|draft| draft.due_at_ms).is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Every reader beyond that length has been woken. If the draft has grown meanwhile, they are woken again after the
    /// pace, which counts from the last of them.
    pub fn all_woken(&mut self, lease: LeaseId, now_ms: i64) {
        let Some(draft) = self.growing.get_mut(&lease) else { return };
        draft.woken_at_ms = Some(now_ms);
        let woken = draft.waking.take();
        if let Some(at_ms) = draft.due_at_ms.take() {
            self.due.remove(&(at_ms, lease));
        }
        if woken.is_some_and(|length| length < draft.text.len()) {
            let at_ms = now_ms.saturating_add(draft.pace_ms);
            draft.due_at_ms = Some(at_ms);
            self.due.insert((at_ms, lease));
        }
    }

    /// Ends a growing draft and returns it.
    pub fn end(&mut self, lease: LeaseId) -> Option<Draft> {
        let draft = self.growing.remove(&lease)?;
        self.by_name.remove(&draft.name);
        if let Some(at_ms) = draft.due_at_ms {
            self.due.remove(&(at_ms, lease));
        }
        self.bytes -= draft.text.len();
        Some(draft)
    }

    /// Keeps a committed draft, until `told` for its readers and after that for later ones.
    pub fn keep(
        &mut self,
        lease: LeaseId,
        draft: Draft,
        lease_key: LeaseKey,
        scopes: Vec<Scope>,
        until_ms: i64,
    ) {
        let Draft { name, text, .. } = draft;
        self.kept_bytes += text.len();
        self.kept_by_name.insert(name, lease);
        self.kept_by_key.insert(lease_key, lease);
        scopes.iter().for_each(|scope| self.kept_by_scope.insert(*scope, lease));
        self.kept.insert(lease, Kept { lease_key, name, scopes, text, until_ms });
    }

    /// Every reader that waited at the end of a draft has heard of it. If the draft was committed, it is remembered from
    /// now on within the bounds. Returns the number of drafts that they push out.
    pub fn told(&mut self, lease: LeaseId) -> u64 {
        let Some(kept) = self.kept.get(&lease) else { return 0 };
        self.told_bytes += kept.text.len();
        self.kept_until.insert((kept.until_ms, lease));
        let mut pushed_out = 0;
        while self.kept_until.len() > MAX_KEPT || self.told_bytes > MAX_KEPT_BYTES {
            let Some((_, oldest)) = self.kept_until.first().copied() else { break };
            self.forget(oldest);
            pushed_out += 1;
        }
        pushed_out
    }

    /// Forgets the committed draft whose time is over first, if it is over.
    pub fn forget_overdue(&mut self, now_ms: i64) -> bool {
        let overdue = self.kept_until.first().filter(|(at_ms, _)| *at_ms <= now_ms).copied();
        overdue.map(|(_, lease)| self.forget(lease)).is_some()
    }

    /// Forgets the committed drafts of a scope that are older than `before`.
    pub fn void(&mut self, scope: Scope, before: LeaseId) {
        self.kept_by_scope.before(&scope, before).into_iter().for_each(|lease| self.forget(lease));
    }

    /// Forgets the committed drafts of one lease key.
    pub fn void_key(&mut self, lease_key: &LeaseKey) {
        self.kept_by_key.before(lease_key, LeaseId::LAST).into_iter().for_each(|lease| self.forget(lease));
    }

    fn forget(&mut self, lease: LeaseId) {
        if let Some(kept) = self.kept.remove(&lease) {
            self.kept_by_name.remove(&kept.name);
            self.kept_by_key.remove(&kept.lease_key, lease);
            kept.scopes.iter().for_each(|scope| self.kept_by_scope.remove(scope, lease));
            self.kept_bytes -= kept.text.len();
            if self.kept_until.remove(&(kept.until_ms, lease)) {
                self.told_bytes -= kept.text.len();
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    pub fn is_told(&self, lease: LeaseId) -> bool {
        self.kept.get(&lease).is_none_or(|kept| self.kept_until.contains(&(kept.until_ms, lease)))
    }

    #[cfg(any(test, fuzzing))]
    pub fn untold(&self) -> usize {
        self.kept.len() - self.kept_until.len()
    }

    pub fn is_empty(&self) -> bool {
        self.growing.is_empty() && self.kept.is_empty()
    }

    pub fn tidy(&mut self) {
        trim(&mut self.growing);
        trim(&mut self.by_name);
        trim(&mut self.kept_by_name);
        trim(&mut self.kept_by_scope.0);
        trim(&mut self.kept_by_key.0);
    }

    pub fn heap_bytes(&self) -> usize {
        let texts = self.growing.values().map(|draft| draft.text.heap_bytes());
        let kept = self.kept.values().map(|kept| kept.text.heap_bytes());
        texts.chain(kept).sum::<usize>()
            + self.growing.allocation_size()
            + self.by_name.allocation_size()
            + self.kept_by_name.allocation_size()
            + self.kept_by_scope.heap_bytes()
            + self.kept_by_key.heap_bytes()
            + most_bytes::<(LeaseId, Kept)>(self.kept.len())
            + most_bytes::<(i64, LeaseId)>(self.due.len() + self.kept_until.len())
    }
}

#[cfg(any(test, fuzzing))]
impl Drafts {
    pub fn validate(&self) {
        assert_eq!(self.by_name.len(), self.growing.len());
        assert_eq!(self.bytes, self.growing.values().map(|draft| draft.text.len()).sum::<usize>());
        assert_eq!(self.kept_bytes, self.kept.values().map(|kept| kept.text.len()).sum::<usize>());
        assert_eq!(self.kept.len(), self.kept_by_name.len());
        assert_eq!(self.kept.len(), self.kept_by_key.len());
        assert_eq!(self.kept.values().map(|kept| kept.scopes.len()).sum::<usize>(), self.kept_by_scope.len());
        let told = self.kept_until.iter().map(|(_, lease)| &self.kept[lease]);
        assert_eq!(self.told_bytes, told.map(|kept| kept.text.len()).sum::<usize>());
        assert!(self.kept_until.len() <= MAX_KEPT && self.told_bytes <= MAX_KEPT_BYTES);
        for (lease, draft) in &self.growing {
            assert_eq!(self.by_name.get(&draft.name), Some(lease));
            assert_eq!(
                draft.due_at_ms.is_some_and(|at_ms| self.due.contains(&(at_ms, *lease))),
                draft.due_at_ms.is_some()
            );
        }
        assert!(self.due.iter().all(|(_, lease)| self.growing.contains_key(lease)));
    }
}
