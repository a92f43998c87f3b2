//! The input that `rpassword` reads at a prompt.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads the terminal byte by byte, so that nothing is read ahead.
pub(super) struct TypedInput {
    pub(super) terminal: File,
    pub(super) refused: Rc<Cell<bool>>,
    pub(super) asked_again: Arc<AtomicBool>,
    /// A byte that was read, held until the input before it is erased.
    pub(super) held: Option<u8>,
}

/// Erases the whole line.
const CTRL_U: u8 = 0x15;

impl Read for TypedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        let byte = match self.held.take() {
            Some(byte) => byte,
            None => {
                let mut byte = [0];
                if self.terminal.read(&mut byte)? == 0 {
                    return Err(io::Error::other("the terminal was closed"));
                }
                if self.asked_again.swap(false, Ordering::Relaxed) {
                    self.refused.set(false);
                    self.held = Some(byte[0]);
                    *first = CTRL_U;
                    return Ok(1);
                }
                byte[0]
            }
        };
        // Those that rpassword edits the line with, and Escape, which begins an arrow key.
        let edits = matches!(byte, b'\n' | b'\r' | 0x04 | 0x08 | CTRL_U | 0x17 | 0x1b | 0x7f);
        if byte.is_ascii_control() && !edits {
            self.refused.set(true);
        }
        *first = byte;
        Ok(1)
    }
}
