//! CPU pinning, and the CPU time that a server has used.
//!
//! With two CPUs or more, a pinned server's main thread has the first to itself, and the generators of
//! load have the others: an idle CPU that must wake up, or a thread that moves, costs more than the measured code.
//! A server's other threads run where they like, as the server starts them before it is pinned.

use std::fs;
use std::thread;
use std::time::Duration;

/// CPU time of a server since its start.
#[derive(Clone, Copy)]
pub struct CpuTime {
    /// Its main thread, which runs the commands.
    pub main: Duration,
    pub all_threads: Duration,
}

impl CpuTime {
    pub fn of(pid: u32) -> CpuTime {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server's threads");
        let threads = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
        let times: Vec<(u32, Duration)> = threads.map(|thread| (thread, of_thread(pid, thread))).collect();
        let main = times.iter().find(|(thread, _)| *thread == pid).map_or(Duration::ZERO, |(_, time)| *time);
        CpuTime { main, all_threads: times.iter().map(|(_, time)| *time).sum() }
    }
}

/// Nothing for a thread that has just ended.
fn of_thread(pid: u32, thread: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Pins the main thread of a server to the first CPU, if there is another one.
pub fn pin_server(pid: u32) {
    let cpus = allowed();
    if cpus.len() > 1 {
        pin(pid, &cpus[..1]);
    }
}

/// Runs something that loads servers on a thread beside them: on all CPUs but the first.
pub fn beside_servers<T: Send>(load: impl FnOnce() -> T + Send) -> T {
    let cpus = allowed();
    let pinned = move || {
        if cpus.len() > 1 {
            pin(0, &cpus[1..]);
        }
        load()
    };
    match thread::scope(|scope| scope.spawn(pinned).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Lets the calling thread run ahead of all ordinary ones, so that what it measures is the server and not the wait for a
/// CPU beside the load. If the system forbids it, nothing changes.
pub fn run_ahead() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is the calling thread, and the call only reads the parameter.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) };
}

/// The CPUs that the calling thread may run on.
fn allowed() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is an empty one, and the call writes no more than its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: the index is below the set's size.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Lets a thread (0: the calling one) run on these only. If the system forbids it, nothing changes.
fn pin(thread: u32, cpus: &[usize]) {
    // SAFETY: an all-zero cpu_set_t is an empty one, the indices come from one, and the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(thread as libc::pid_t, size_of::<libc::cpu_set_t>(), &set);
    }
}
