//! Single flight: of all who miss one answer, one computes it, and nobody waits for one who is gone.

mod support;

#[path = "flight/crowd.rs"]
mod crowd;
#[path = "flight/denied.rs"]
mod denied;
#[path = "flight/desk.rs"]
mod desk;
#[path = "flight/drops.rs"]
mod drops;
#[path = "flight/jitter.rs"]
mod jitter;
#[path = "flight/lasting.rs"]
mod lasting;
#[path = "flight/late.rs"]
mod late;
#[path = "flight/moves.rs"]
mod moves;
#[path = "flight/refused.rs"]
mod refused;
#[path = "flight/savings.rs"]
mod savings;
#[path = "flight/seen.rs"]
mod seen;
#[path = "flight/soft.rs"]
mod soft;
#[path = "flight/stale.rs"]
mod stale;
#[path = "flight/waking.rs"]
mod waking;
#[path = "commands/words.rs"]
mod words;
