//! The process of a server, on this machine or, with the feature `containers`, in a container.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;

#[cfg(feature = "containers")]
use crate::container::Container;

/// A process that has been started and not been seen to end.
pub(super) enum Process {
    Child(Child),
    #[cfg(feature = "containers")]
    Container(Container),
}

impl Process {
    /// Starts a server with the redis.conf of its directory; its output goes to `output` there.
    pub(super) fn start(dir: &Path) -> Process {
        #[cfg(feature = "containers")]
        if let Some(container) = Container::start(dir) {
            return Process::Container(container);
        }
        Process::start_with(dir, &[])
    }

    /// The same in the form of a sentinel, which is always a process of this machine.
    pub(super) fn start_sentinel(dir: &Path) -> Process {
        Process::start_with(dir, &["--sentinel"])
    }

    fn start_with(dir: &Path, more: &[&str]) -> Process {
        let output = fs::File::options().create(true).append(true).open(dir.join("output"));
        let output = output.expect("open the output file");
        let mut command = Command::new(server_binary());
        command
            .arg(dir.join("redis.conf"))
            .args(more)
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("share the output file"))
            .stdout(output);
        Process::Child(spawn_dying_with_us(command))
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Process::Child(child) => child.id(),
            #[cfg(feature = "containers")]
            Process::Container(container) => container.pid(),
        }
    }

    /// Its exit status, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Process::Child(child) => child.try_wait().expect("look at the server"),
            #[cfg(feature = "containers")]
            Process::Container(container) => container.ended(),
        }
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) {
        match self {
            // SAFETY: kill touches no memory, and the child has not been waited for: its pid is its own.
            Process::Child(child) => unsafe {
                libc::kill(child.id() as libc::pid_t, libc::SIGTERM);
            },
            #[cfg(feature = "containers")]
            Process::Container(container) => container.terminate(),
        }
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub(super) fn kill(self) {
        match self {
            Process::Child(mut child) => {
                child.kill().expect("kill the server");
                child.wait().expect("wait for the server");
            }
            #[cfg(feature = "containers")]
            Process::Container(container) => container.kill(),
        }
    }
}

/// The line that the server under test prints for `--version`.
pub(super) fn version_line() -> String {
    #[cfg(feature = "containers")]
    if let Some(line) = Container::version_line() {
        return line;
    }
    let output = Command::new(server_binary()).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{} --version: {error}", server_binary()));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn server_binary() -> String {
    std::env::var("CHATCACHE_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Starts a process that the kernel kills when this one ends, in whatever way that happens.
///
/// Linux ties that to the *thread* which forked, and tests' threads end before their process does: a server
/// shared by several tests would die with the first. So one thread, which never ends, starts them all.
fn spawn_dying_with_us(mut command: Command) -> Child {
    type Job = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, response) in inbox {
                let _ = response.send(command.spawn());
            }
        });
        jobs
    });

    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id() as libc::pid_t;
        let die_with_parent = move || {
            // SAFETY: both are plain system calls, allowed between fork and exec.
            unsafe {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // Gone already, before the kernel knew its parent.
                if libc::getppid() != parent {
                    return Err(std::io::Error::other("the test process is gone"));
                }
            }
            Ok(())
        };
        // SAFETY: the closure allocates nothing and takes no lock on its way to exec.
        unsafe { command.pre_exec(die_with_parent) };
    }
    let program = command.get_program().to_owned();
    let (response, child) = mpsc::channel();
    SPAWNER.send((command, response)).expect("the spawner lives");
    let child = child.recv().expect("the spawner answers");
    child.unwrap_or_else(|error| panic!("start {}: {error} (see `make setup`)", program.display()))
}
