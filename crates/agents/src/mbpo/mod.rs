//! Model-based policy optimisation: Janner, Fu, Zhang and Levine, "When to Trust Your Model: Model-Based
//! Policy Optimization" (NeurIPS 2019). Short roll-outs of an ensemble of probabilistic networks, branched
//! off from states of the plant, feed soft actor-critic.

mod agent;
mod ensemble;
mod settings;

pub use agent::{Mbpo, MbpoLearner};
pub use ensemble::{Ensemble, FitReport};
pub use settings::{EnsembleSettings, MbpoSettings};
