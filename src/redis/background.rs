//! One thread beside the main one, for work on plain data: it takes a job, and the event loop hears when it is done.
//!
//! No lock is held that a forked child could need: the child of a save has the main thread only, and touches neither the
//! thread nor its channels.

use crate::redis::api::OK;
use std::os::raw::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// A thread that does jobs one after the other.
pub struct Background<Job, Done> {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl<Job: Send + 'static, Done: Send + 'static> Background<Job, Done> {
    /// Starts the thread, which keeps `state` from job to job; None where the system gives none. A job that panics
    /// ends it: then nothing is done any more.
    pub fn start<State: Default>(
        name: &str,
        work: impl Fn(&mut State, Job) -> Done + Send + 'static,
    ) -> Option<Self> {
        let (jobs, to_do) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let run = move || {
            let mut state = State::default();
            for job in to_do {
                let Ok(result) = panic::catch_unwind(AssertUnwindSafe(|| work(&mut state, job))) else {
                    return;
                };
                if finished.send(result).is_err() {
                    return;
                }
                wake_event_loop();
            }
        };
        thread::Builder::new().name(name.into()).spawn(run).ok()?;
        Some(Background { jobs, done })
    }

    /// Hands a job over; false if the thread has ended.
    pub fn submit(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// What has been done since it was last asked for, oldest first.
    pub fn take_done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

/// Ends the event loop's sleep, from any thread.
fn wake_event_loop() {
    // SAFETY: the one call of the event loop that is made for other threads; it needs no data.
    let code = unsafe { api!(RedisModule_EventLoopAddOneShot)(Some(awake), ptr::null_mut()) };
    debug_assert_eq!(code, OK);
}

extern "C" fn awake(_: *mut c_void) {}
