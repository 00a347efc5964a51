//! Waiting for signals. A container's first process has no default actions: a SIGTERM that it doesn't
//! handle is ignored, and its orphans stay until it reaps them.

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIG_BLOCK: i32 = 0;
const WNOHANG: i32 = 1;

/// glibc's `sigset_t` on Linux: 1024 bits.
#[repr(C)]
pub struct Signals([u64; 16]);

// SAFETY: the declarations match glibc's on Linux; every pointer given to them is a reference to a live
// value of the size that they write, or null where that is allowed.
unsafe extern "C" {
    safe fn sigaddset(set: &mut Signals, signal: i32) -> i32;
    safe fn sigwait(set: &Signals, signal: &mut i32) -> i32;
    safe fn waitpid(pid: i32, status: Option<&mut i32>, options: i32) -> i32;
    safe fn pthread_sigmask(how: i32, set: &Signals, old: Option<&mut Signals>) -> i32;
}

pub enum Signal {
    Stop,
    Child,
}

/// Keeps the signals for [`Signals::wait`]; to be called before any thread is started, which inherits it.
pub fn block() -> Signals {
    let mut set = Signals([0; 16]);
    for signal in [SIGINT, SIGTERM, SIGCHLD] {
        sigaddset(&mut set, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set, None);
    set
}

impl Signals {
    pub fn wait(&self) -> Signal {
        let mut signal = 0;
        sigwait(self, &mut signal);
        if signal == SIGCHLD { Signal::Child } else { Signal::Stop }
    }
}

/// Collects every ended child, adopted ones too.
pub fn reap() {
    while waitpid(-1, None, WNOHANG) > 0 {}
}
