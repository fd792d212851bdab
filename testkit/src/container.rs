//! A server in a container of the image `CHATCACHE_TEST_IMAGE` (`redis:7.2`).
//!
//! The server's directory and the module are mounted under the names that they have on this machine, and the
//! container is in this machine's network: a test sees the same files, sockets and ports as without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{Mount, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

/// Time limit for the end of a server, in seconds.
const GRACE: i32 = 30;

/// A container that has been started and not been seen to end. It ends when this is dropped.
pub(super) struct Container(testcontainers::Container<GenericImage>);

impl Container {
    /// Starts a server with the redis.conf of its directory; None without `CHATCACHE_TEST_IMAGE`.
    pub(super) fn start(dir: &Path) -> Option<Container> {
        let image = image()?;
        let dir_name = dir.to_str().expect("a path in UTF-8");
        let module = std::env::var("CHATCACHE_MODULE").expect("CHATCACHE_MODULE is the module to mount");
        // SAFETY: they only read.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        if uid == 0 {
            // The image's entrypoint gives root up for a user of its own.
            let all = fs::Permissions::from_mode(0o777);
            fs::set_permissions(dir, all).expect("let the server's user into its directory");
        }
        let container = image
            .with_cmd([server_program().to_owned(), format!("{dir_name}/redis.conf")])
            .with_user(format!("{uid}:{gid}"))
            .with_network("host")
            .with_mount(Mount::bind_mount(dir_name, dir_name))
            .with_mount(Mount::bind_mount(&module, &module))
            .start();
        Some(Container(container.expect("start a container")))
    }

    /// The process, as this machine numbers it.
    pub(super) fn pid(&self) -> u32 {
        let output = Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", self.0.id()]).output();
        let pid = output.expect("docker inspect").stdout;
        String::from_utf8_lossy(&pid).trim().parse().expect("a pid")
    }

    /// Its exit status, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let code = self.0.exit_code().expect("look at the container")?;
        // A shell's way to say which signal it was.
        let signal = if code > 128 { code - 128 } else { code << 8 };
        Some(ExitStatus::from_raw(i32::try_from(signal).expect("an exit status")))
    }

    /// SIGTERM, as `docker stop` sends it.
    pub(super) fn terminate(&self) {
        self.0.stop_with_timeout(Some(GRACE)).expect("stop the container");
    }

    /// SIGKILL, and wait until it is gone.
    pub(super) fn kill(self) {
        self.0.rm().expect("remove the container");
    }

    /// The line that the server under test prints for `--version`; None without `CHATCACHE_TEST_IMAGE`.
    pub(super) fn version_line() -> Option<String> {
        let done = WaitFor::exit(ExitWaitStrategy::new().with_exit_code(0));
        let container =
            image()?.with_cmd([server_program(), "--version"]).with_ready_conditions(vec![done]).start();
        let output = container.expect("start a container").stdout_to_vec().expect("the container's output");
        Some(String::from_utf8_lossy(&output).into_owned())
    }
}

/// The image under test, if there is one. Its containers bear a label by which `scripts/containers` finds those of a
/// run that was killed.
fn image() -> Option<ContainerRequest<GenericImage>> {
    let image = std::env::var("CHATCACHE_TEST_IMAGE").ok()?;
    let (name, tag) = image.rsplit_once(':').expect("an image with its tag");
    Some(GenericImage::new(name, tag).with_label("chatcache", "test"))
}

fn server_program() -> &'static str {
    let image = std::env::var("CHATCACHE_TEST_IMAGE").unwrap_or_default();
    if image.contains("valkey") { "valkey-server" } else { "redis-server" }
}
