//! The experiments of PODS (Zamora Mora et al., ICML 2021) on its pendulums: [`arms`] has the methods and
//! their settings, and each figure has a module of its own.

mod arms;
mod fig3;
mod fig4;
mod fig6;
mod fig7;
mod measures;
mod table1;

use crate::runs::Figure;

/// Name of the paper on the command line.
pub(crate) const PAPER: &str = "pods";

pub(crate) const FIGURES: [&Figure; 8] = [
    &fig3::FIGURE,
    &fig4::FIGURE,
    &fig6::FIGURE,
    &fig7::FIGURE,
    &measures::FIG8,
    &measures::FIG9,
    &measures::FIG10,
    &table1::FIGURE,
];
