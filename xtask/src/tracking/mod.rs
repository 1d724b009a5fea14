//! The experiments of the tracking-feedback policy gradient (Westenbroek, Levy and Fridovich-Keil, CoRL
//! 2023): [`arms`] has the curves and their settings, and each figure has a module of its own.

mod arms;
mod driven;
mod fig2;
mod fig3_left;
mod fig3_right;
mod fig4;
mod measures;
mod mismatch;
mod theory;

use crate::runs::Figure;

/// Name of the paper on the command line.
pub(crate) const PAPER: &str = "tracking-feedback";

pub(crate) const FIGURES: [&Figure; 7] = [
    &fig2::MATCHED,
    &fig2::HALF_MASSES,
    &fig3_left::FIGURE,
    &fig3_right::FIGURE,
    &fig4::FIGURE,
    &mismatch::FIGURE,
    &theory::FIGURE,
];
