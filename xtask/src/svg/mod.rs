//! The experiments of stochastic value gradients (Heess et al., NIPS 2015): [`arms`] has the methods and
//! their settings, and each figure has a module of its own.

mod arms;
mod fig2_left;
mod fig2_middle;
mod fig2_right;

use crate::runs::Figure;

/// Name of the paper on the command line.
pub(crate) const PAPER: &str = "svg";

pub(crate) const FIGURES: [&Figure; 3] =
    [&fig2_left::FIGURE, &fig2_middle::FIGURE, &fig2_right::FIGURE];
