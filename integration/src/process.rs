//! Children that end with the test that started them.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;

/// A child inside a namespace. Dropping it kills it, and so does the end of the thread that started it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` inside `namespace`. Call it from a thread that lives as long as the child shall.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start(namespace: &Namespace, command: &mut Command) -> Result<Self> {
        namespace.command(command)?;
        // SAFETY: the closure makes one system call, which takes no pointer.
        unsafe {
            command.pre_exec(|| {
                // A test that is killed must not leave a daemon behind.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let name = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", name.display()))?;
        Ok(Self { child })
    }

    /// Returns the child, for its pipes and its id.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the child's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`.
    ///
    /// # Errors
    ///
    /// When the child has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id beyond i32")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("cannot send {signal} to process {id}"))
    }

    /// Kills the child with SIGKILL and waits for its end.
    ///
    /// # Errors
    ///
    /// When it had ended before by itself.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the process had ended before: {status}");
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() != Some(libc::SIGKILL) {
            bail!("the process ended before it was killed: {status}");
        }
        Ok(())
    }

    /// Asks the child to end (SIGTERM) and waits.
    ///
    /// # Errors
    ///
    /// When it has not ended by `patience`; it is killed then.
    pub fn terminate(mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(patience)
    }

    /// Waits for the end of the child.
    ///
    /// # Errors
    ///
    /// When it has not ended by `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("the process still runs after {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
