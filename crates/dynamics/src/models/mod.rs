//! Models with hand-derived derivatives.

mod acrobot;
mod airplane;
mod airplane_surfaces;
mod arm;
mod attitude;
mod car;
mod cartpole;
mod cartpole_gym;
mod cartpole_suite;
mod double_pendulum;
mod half_cheetah;
mod hand_ball;
mod hopper;
mod pendulum;
mod quadrotor;
mod ranges;
mod swimmer;
mod two_link;
mod unicycle;
mod velocity_commanded;

pub use acrobot::{Acrobot, AcrobotParameters};
pub use airplane::{
    Aerodynamics, Airplane, AirplaneParameters, IdleThrust, LeftWing, MotorMomentum,
};
pub use arm::iiwa14;
pub use car::{Car, CarParameters, LagParameters, LaggedCar};
pub use cartpole::{Cartpole, CartpoleParameters, DeadbandKind};
pub use cartpole_gym::{CartpoleGym, CartpoleGymParameters};
pub use cartpole_suite::{CartpoleSuite, CartpoleSuiteParameters};
pub use double_pendulum::{DoublePendulum, DoublePendulumParameters};
pub use half_cheetah::{HalfCheetah, HalfCheetahParameters};
pub use hand_ball::{HandBall, HandBallParameters};
pub use hopper::{Hopper, HopperParameters};
pub use pendulum::{Pendulum, PendulumParameters};
pub use quadrotor::{DragOn, Quadrotor, QuadrotorParameters};
pub use swimmer::{Swimmer, SwimmerParameters, SwimmerWorkspace};
pub use unicycle::Unicycle;
pub use velocity_commanded::{VelocityCommanded, VelocityCommandedParameters};
