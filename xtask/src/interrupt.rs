//! Ctrl-C and SIGTERM as a flag that long work looks at.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// The flag, set by the first signal; a second one ends the process at once.
///
/// # Errors
/// If the signal handler cannot be installed.
pub(crate) fn flag() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot install the handler for Ctrl-C")?;
    Ok(&STOP)
}
