//! Drafts and their readers: pieces arrive, readers take what is new, and each end of a draft tells them.

use super::draft_text::DraftPart;
use super::ids::{FlightId, LeaseId, WaiterId};
use super::table::LeaseTable;
use super::types::{
    AppendOutcome, DraftLimits, DraftName, DraftNews, LeaseKey, LeaseRequest, Step, StoredAs, Token, Wait,
    WaitOutcome, Wake,
};
use super::waiters::Waiter;

impl LeaseTable {
    /// The news for a reader at once: more of its draft, the rest, or that it is lost; none if it has all there is, or if
    /// readers of the draft are being woken: then it waits for its turn among them. So a crowd whose turn takes longer
    /// than the model's next piece gets larger parts, and does not keep the server from others.
    pub(super) fn read(
        &mut self,
        request: &LeaseRequest<'_>,
        name: DraftName,
        offset: usize,
        wait: Wait,
        step: &Step<'_>,
    ) -> Option<DraftNews> {
        if let Some(part) = self.drafts.rest(&name, &request.lease_key, offset) {
            return Some(DraftNews::Rest(part));
        }
        let growing = self.drafts.find(&name).filter(|(lease, draft)| {
            let flight = self.flights.get(draft.flight);
            flight.is_some_and(|flight| {
                flight.lease.id == *lease
                    && flight.lease_key == request.lease_key
                    && offset <= draft.text.len()
            }) && self.left_ms(draft.flight, step.now_ms) > 0
        });
        match growing.map(|(lease, _)| lease) {
            Some(lease)
                if self.drafts.is_due(lease, step.now_ms)
                    && self.may_wait(request.client, wait, step.now_ms) =>
            {
                None
            }
            Some(lease) => self.part(lease, offset),
            None => {
                self.counters.lost += 1;
                Some(DraftNews::Lost)
            }
        }
    }

    /// The draft's bytes from the offset on; None if there are none.
    pub(super) fn part(&mut self, lease: LeaseId, offset: usize) -> Option<DraftNews> {
        let draft = self.drafts.get(lease)?;
        let part = draft.text.part(offset).filter(|part| !part.is_empty())?;
        self.counters.parts += 1;
        Some(DraftNews::Part { name: draft.name, part, next: draft.text.len() })
    }

    /// The holder appends a piece to the draft of its lease. `advance` wakes the readers.
    pub fn append(
        &mut self,
        lease_key: &LeaseKey,
        token: &Token,
        piece: &[u8],
        limits: DraftLimits,
        step: &mut Step<'_>,
    ) -> AppendOutcome {
        let held = self.holds(lease_key, token, step.now_ms);
        let Some((id, flight)) = held.and_then(|id| Some((id, self.flights.get(id)?))) else {
            self.counters.refused += 1;
            return AppendOutcome::Refused;
        };
        let (lease, length_ms) = (flight.lease.id, flight.lease.length_ms);
        let length = self.drafts.get(lease).map_or(0, |draft| draft.text.len());
        if length.saturating_add(piece.len()) > limits.max_bytes {
            return AppendOutcome::TooLong;
        }
        if self.drafts.get(lease).is_none() {
            self.counters.drafts += 1;
            self.drafts.begin(lease, id, DraftName::from_bytes((step.random)()));
        }
        self.flights.extend(id, step.now_ms.saturating_add(length_ms));
        match self.drafts.append(lease, piece, step.now_ms, limits.pace_ms) {
            Some(length) => AppendOutcome::Appended(length),
            None => AppendOutcome::Refused,
        }
    }

    /// Returns the whole draft of a lease, for COMMIT, or None if the token proves no lease or the lease has no draft.
    pub fn draft(&self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> Option<DraftPart> {
        let flight = self.flights.get(self.holds(lease_key, token, now_ms)?)?;
        self.drafts.get(flight.lease.id)?.text.part(0)
    }

    /// Ends the draft of a lease that ends. By `advance` its readers hear the rest if it is the response, or that it is
    /// lost.
    pub(super) fn end_draft(&mut self, id: FlightId, stored_as: Option<StoredAs>, step: &mut Step<'_>) {
        let Some(flight) = self.flights.get(id) else { return };
        let (lease, lease_key) = (flight.lease.id, flight.lease_key);
        let is_response = stored_as == Some(StoredAs::Draft(flight.lease.token));
        let until_ms = step.now_ms.saturating_add(flight.lease.length_ms);
        let Some(draft) = self.drafts.end(lease) else { return };
        if is_response {
            self.drafts.void_key(&lease_key);
            let scopes = flight.response_scopes().collect();
            self.drafts.keep(lease, draft, lease_key, scopes, until_ms);
        }
        match self.waiters.next_reader(lease, usize::MAX) {
            Some(_) => self.ended.push_back(lease),
            None => self.counters.drafts_pushed_out += self.drafts.told(lease),
        }
    }

    pub(super) fn end_read(&mut self, waiter: WaiterId, news: DraftNews, step: &mut Step<'_>) {
        if let Some(Waiter { client, .. }) = self.waiters.remove(waiter) {
            self.counters.reads_ended += 1;
            step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Draft(news) });
        }
    }

    /// Wakes one reader of a draft that is due, or ends that draft's turn.
    pub(super) fn wake_reader(
        &mut self,
        lease: LeaseId,
        flight: FlightId,
        length: usize,
        step: &mut Step<'_>,
    ) {
        if self.left_ms(flight, step.now_ms) == 0 {
            return self.settle(flight, step);
        }
        let stream = self.waiters.next_stream(flight).map(|waiter| (waiter, 0));
        let Some((reader, offset)) = stream.or_else(|| self.waiters.next_reader(lease, length)) else {
            return self.drafts.all_woken(lease, step.now_ms);
        };
        if let Some(part) = self.part(lease, offset) {
            self.end_read(reader, part, step);
        }
    }

    /// Tells one reader of an ended lease, which is the first of `ended`, the rest of its draft, or that it is lost.
    pub(super) fn tell_end(&mut self, lease: LeaseId, step: &mut Step<'_>) {
        let Some((reader, offset)) = self.waiters.next_reader(lease, usize::MAX) else {
            self.ended.pop_front();
            self.counters.drafts_pushed_out += self.drafts.told(lease);
            return;
        };
        let news = match self.drafts.rest_of(lease, offset) {
            Some(part) => DraftNews::Rest(part),
            None => {
                self.counters.lost += 1;
                DraftNews::Lost
            }
        };
        self.end_read(reader, news, step);
    }
}
