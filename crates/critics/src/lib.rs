//! Networks whose input gradients are exact and trainable.
//!
//! Critics of value-gradient methods are trained on their value *and* on its derivative by the
//! state. This crate has perceptrons with closed-form kernels for both, in `f32` and `f64`:
//!
//! - [`Mlp`] evaluates a batch, differentiates it by inputs and parameters, and
//!   ([`Mlp::sobolev_backward`]) trains losses on input gradients with a single reverse pass;
//! - [`Mlp::jacobian`], [`Mlp::hessian`], [`Mlp::hessian_vector`] and [`Mlp::squared_residual`] are for
//!   solvers that use a network as value function and need its second derivative;
//! - [`ValueNetwork`] is a value function of its own for optimal control: trained on values, gradients
//!   and Hessians ([`ValueNetwork::fit`]), saved in one file, and the last cost of a problem
//!   ([`NeuralTerminalCost`]);
//! - [`SquashedGaussian`] is the actor: actions, log-densities and their gradients by parameters and
//!   states;
//! - [`Adam`] and [`soft_update`] move flat parameter vectors, [`gradient_loss`] is the robust loss
//!   on gradients;
//! - [`Backend`] chooses what computes them: the kernels of this crate, or candle on a processor or a
//!   GPU (features `candle` and `cuda`), behind the same methods;
//! - `CandleMlp` (feature `candle`) is the same network as candle's tensors, for losses and
//!   architectures that have no kernel here;
//! - [`Tensors`], [`Snapshot`] and [`Checkpoints`] store all of this.
//!
//! # Layout
//!
//! A batch is a slice, sample after sample: batch × features, the features of one sample contiguous.
//! All parameters of a network are one vector W₁, b₁, W₂, b₂, … with W [out, in] row-major, as
//! PyTorch stores them; [`MlpSpec::weight`] and [`MlpSpec::bias`] give the ranges. Gradients and
//! optimiser states have the same layout. Parameter gradients are *added to* their buffer, all other
//! results overwrite theirs.
//!
//! # Deliberately absent
//!
//! These hold for the native backend; candle has a tape, allocates, and has threads of its own.
//!
//! - No tape: every derivative is a formula, so the gradient of a gradient costs one more pass.
//! - No global random numbers: initial weights come from a [`dynamics::Stream`], noise from the
//!   caller.
//! - No allocation during training: results and activations live in workspaces, and the memory in
//!   which a thread's products pack their factors is made once.
//! - No threads inside: the bits of a result depend on shapes and on the [`InstructionPath`], never on
//!   how many threads there are.
//!
//! # Example
//!
//! A network learns sin x from values and slopes:
//!
//! ```
//! use critics::{Activation, Adam, AdamSettings, Mlp, MlpSpec};
//! use dynamics::Stream;
//!
//! let spec = MlpSpec { sizes: vec![1, 16, 16, 1], hidden: Activation::Tanh };
//! let mut net = Mlp::<f64>::xavier(spec, &[], &mut Stream::new(1, "weights", 0))?;
//! let x: Vec<f64> = (0..32).map(|i| -2.0 + f64::from(i) / 8.0).collect();
//! let (ones, mut gx, mut ws) = ([1.0; 32], [0.0; 32], net.workspace(32));
//! let mut adam = Adam::new(net.params().len(), AdamSettings { lr: 1e-2, ..Default::default() });
//! let mut grads = vec![0.0; net.params().len()];
//! let mut loss = f64::INFINITY;
//! for _ in 0..300 {
//!     // loss = Σ ½(V − sin)² + ½(V′ − cos)²
//!     let value = net.forward(&x, &mut ws);
//!     let seed: Vec<f64> = value.iter().zip(&x).map(|(v, x)| v - x.sin()).collect();
//!     net.input_gradient(&ones, &mut ws, &mut gx);
//!     let v: Vec<f64> = gx.iter().zip(&x).map(|(g, x)| g - x.cos()).collect();
//!     loss = seed.iter().chain(&v).map(|e| 0.5 * e * e).sum();
//!     // d(loss) = Σ seed·dV + v·d(V′): one pass for both
//!     net.tangent(&v, &mut ws);
//!     grads.fill(0.0);
//!     net.sobolev_backward(&seed, &ones, &mut ws, &mut grads);
//!     adam.step(net.params_mut(), &grads);
//! }
//! assert!(loss < 0.1, "{loss}");
//! # Ok::<(), critics::CriticError>(())
//! ```

// From the numbers up: scalars and element-wise functions, products, networks, what trains them.
mod activation;
mod elementary;
mod instructions;
mod product;
mod real;

mod backend;
mod mlp;
mod mlp_kernels;
mod mlp_workspace;

mod hessian;
mod jacobian;

mod value;

#[cfg(feature = "candle")]
mod candle_mlp;
#[cfg(feature = "candle")]
mod candle_tape;
mod gaussian_policy;

mod adam;
mod gradient_loss;

mod checkpoint;
mod error;

pub use activation::Activation;
pub use adam::{Adam, AdamSettings, soft_update};
pub use backend::{Backend, BackendError, backend, set_backend};
#[cfg(feature = "candle")]
pub use candle_mlp::CandleMlp;
pub use checkpoint::*;
pub use error::CriticError;
pub use gaussian_policy::{PolicyWorkspace, SquashedGaussian};
pub use gradient_loss::{RunningMedian, gradient_loss};
pub use hessian::{HessianWorkspace, SquaredResidual};
pub use instructions::{
    InstructionPath, InstructionPathError, instruction_path, set_instruction_path,
};
pub use mlp::{Initialization, Mlp, MlpSpec};
pub use mlp_workspace::MlpWorkspace;
pub use product::Products;
pub use real::Real;
pub use value::*;
