//! From fork to exec. The child makes the calls of [`crate::confine`]; the first that fails is
//! reported through a pipe that a successful exec closes.

use crate::confine::{self, Call, Given};
use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Program};
use crate::sys;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Starts `program` with `output` as its standard output and error; returns its process id.
pub fn start(
    program: &Program,
    output: Option<OwnedFd>,
    blueprint: &Blueprint,
) -> Result<i32, Fault> {
    let image = Image::of(program)?;
    let Some(output) = output else { return Err(fault(Step::ConnectOutput, libc::EBADF, "pipe")) };
    let given = Given::new(output, blueprint)?;
    let calls = confine::calls(&program.cwd, blueprint, &given);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).at(Step::Fork, "pipe")?;
    #[expect(unsafe_code, reason = "fork needs a promise")]
    // SAFETY: init and the keeper have a single thread.
    let forked = unsafe { sys::fork() };
    if let Some(pid) = forked.at(Step::Fork, "program")? {
        drop(writer);
        return match read_fault(&reader) {
            None => Ok(pid),
            Some(fault) => {
                // It has said why and is on its way out; the reaper may not take it for a stranger.
                let _ = rustix::process::waitpid(
                    rustix::process::Pid::from_raw(pid),
                    rustix::process::WaitOptions::empty(),
                );
                Err(fault)
            }
        };
    }
    let fault = become_program(&image, &calls, &given);
    if let Ok(bytes) = serde_json::to_vec(&fault) {
        let _ = rustix::io::write(&writer, &bytes);
    }
    sys::leave(127)
}

fn read_fault(reader: &OwnedFd) -> Option<Fault> {
    // A fault is far smaller than what a pipe passes in one piece.
    let mut bytes = [0u8; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut bytes)).unwrap_or(0);
    let text = bytes.get(..length)?;
    if text.is_empty() {
        None
    } else {
        Some(
            serde_json::from_slice(text)
                .unwrap_or_else(|_| fault(Step::Execute, libc::EPROTO, "report")),
        )
    }
}

fn fault(step: Step, errno: i32, on: &str) -> Fault {
    Fault { step, errno, on: on.to_owned() }
}

/// A program in the form that exec takes.
struct Image {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    fn of(program: &Program) -> Result<Self, Fault> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| fault(Step::CheckProgram, libc::EINVAL, "a NUL byte"))
        };
        let argv =
            program.argv.iter().map(|argument| text(argument)).collect::<Result<Vec<_>, _>>()?;
        let env = program
            .env
            .iter()
            .map(|(key, value)| text(&format!("{key}={value}")))
            .collect::<Result<_, _>>()?;
        let path = argv
            .first()
            .cloned()
            .ok_or_else(|| fault(Step::CheckProgram, libc::EINVAL, "no argument"))?;
        text(&program.cwd)?;
        Ok(Self { path, argv, env })
    }
}

fn become_program(image: &Image, calls: &[Call], given: &Given) -> Fault {
    sys::reset_signals();
    match calls.iter().try_for_each(|call| call.make(given.all())) {
        Ok(()) => fault(
            Step::Execute,
            sys::execute(&image.path, &image.argv, &image.env).raw_os_error(),
            &image.path.to_string_lossy(),
        ),
        Err(fault) => fault,
    }
}
