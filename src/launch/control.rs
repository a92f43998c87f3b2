//! Messages between a run's two processes: the one in front, and the supervisor that starts the child.
//!
//! One socket, which is the supervisor's standard input; a standard descriptor is one that std hands out without `unsafe`.
//! When the socket closes, each side concludes that the other one is dead. First come the child's standard input and, where there is one, the
//! user's terminal; then one-byte commands to the supervisor and five-byte reports from it.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::process::Signal;

/// An order to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Send the child this signal.
    Signal(Signal),
    /// Send it to the foreground of the child's terminal, as that terminal would.
    Foreground(Signal),
    /// Let the child's process group go on after a stop.
    Continue,
}

/// A report from the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The child runs.
    Started,
    /// It could not be started, for this `errno`.
    NotStarted(i32),
    /// It was stopped, as by Ctrl-Z.
    Stopped,
    /// It was let go on, as [`Order::Continue`] asked.
    Continued,
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

const CONTINUE: u8 = 0x80;
/// Added to a signal's number.
const FOREGROUND: u8 = 0x40;

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Control(UnixStream);

impl Control {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Sends the supervisor some of our descriptors.
    pub(super) fn give(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty())?;
        Ok(())
    }

    /// Receives the descriptors.
    pub(super) fn take(&self) -> io::Result<Vec<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, RECEIVE)?;
        let mut taken = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                taken.extend(descriptors);
            }
        }
        Ok(taken)
    }

    pub(super) fn order(&self, order: Order) -> io::Result<()> {
        let number = |signal: Signal| u8::try_from(signal.as_raw()).expect("a small number");
        let byte = match order {
            Order::Continue => CONTINUE,
            Order::Signal(signal) => number(signal),
            Order::Foreground(signal) => FOREGROUND | number(signal),
        };
        (&self.0).write_all(&[byte])
    }

    /// Reads the next order; `None` when the process in front is gone.
    pub(super) fn next_order(&self) -> Option<Order> {
        let mut byte = [0];
        (&self.0).read_exact(&mut byte).ok()?;
        match byte[0] {
            CONTINUE => Some(Order::Continue),
            byte => {
                let signal = Signal::from_named_raw((byte & !FOREGROUND).into())?;
                Some(if byte & FOREGROUND == 0 { Order::Signal(signal) } else { Order::Foreground(signal) })
            }
        }
    }

    pub(super) fn report(&self, report: Report) -> io::Result<()> {
        let (tag, number) = match report {
            Report::Started => (b'S', 0),
            Report::NotStarted(errno) => (b'N', errno),
            Report::Stopped => (b'T', 0),
            Report::Continued => (b'C', 0),
            Report::Exited(code) => (b'E', code),
            Report::Killed(signal) => (b'K', signal),
        };
        let mut message = [tag, 0, 0, 0, 0];
        message[1..].copy_from_slice(&number.to_le_bytes());
        (&self.0).write_all(&message)
    }

    /// Reads the next report; `None` when the supervisor is gone.
    pub(super) fn next_report(&self) -> Option<Report> {
        let mut message = [0; 5];
        (&self.0).read_exact(&mut message).ok()?;
        let number = i32::from_le_bytes(message[1..].try_into().expect("four bytes"));
        match message[0] {
            b'S' => Some(Report::Started),
            b'N' => Some(Report::NotStarted(number)),
            b'T' => Some(Report::Stopped),
            b'C' => Some(Report::Continued),
            b'E' => Some(Report::Exited(number)),
            b'K' => Some(Report::Killed(number)),
            _ => None,
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Descriptors must not reach the child. Systems other than Linux set the flag in a second step, and this process starts
/// nothing between the two.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::empty();
