//! One thread beside the main one, for work on plain data: it takes a job, and wakes the event loop when it
//! is done.
//!
//! It holds no lock that a forked child could need: the child of a save has the main thread only, and touches
//! neither this thread nor its channels.

use crate::redis::api::{OK, api};
use crate::redis::guard;
use std::os::raw::c_void;
use std::ptr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// A thread that does jobs one after the other.
pub struct Background<Job, Done> {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl<Job: Send + 'static, Done: Send + 'static> Background<Job, Done> {
    /// Starts the thread, which keeps `state` from job to job; returns None if the system gives no thread. A
    /// job that panics is logged and ends the thread.
    pub fn start<State: Default>(
        name: &str,
        work: impl Fn(&mut State, Job) -> Done + Send + 'static,
    ) -> Option<Self> {
        let (jobs, to_do) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let run = move || {
            let mut state = State::default();
            for job in to_do {
                let result = guard::run("a background job", None, || Some(work(&mut state, job)));
                let Some(Ok(())) = result.map(|result| finished.send(result)) else { return };
                wake_event_loop();
            }
        };
        thread::Builder::new().name(name.into()).spawn(run).ok()?;
        Some(Background { jobs, done })
    }

    /// Gives the thread a job; returns false if it has ended.
    pub fn submit(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// Returns the oldest result not taken yet, or None.
    pub fn take_done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

/// Ends the event loop's sleep, from any thread.
fn wake_event_loop() {
    // SAFETY: the server allows this one call of its event loop from other threads; the callback takes no
    // data.
    let code = unsafe { api!(RedisModule_EventLoopAddOneShot)(Some(awake), ptr::null_mut()) };
    debug_assert_eq!(code, OK);
}

extern "C" fn awake(_: *mut c_void) {}
