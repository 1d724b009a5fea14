//! The kinematic tree: bodies, joints and frames, immutable once built.

use std::ops::Range;

use nalgebra::{Matrix3, Vector3};
use thiserror::Error;

use super::description::{Inertial, JointKind, JointProperties, RobotDescription};
use super::passive::PassiveForces;
use super::spatial::{M3, Symmetric, V3};

/// How the root link of a description is attached to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// It does not move.
    Fixed,
    /// It floats: a free-flyer joint is put before it.
    Floating,
}

/// A kinematic tree.
///
/// Bodies are numbered depth first, children in the order in which the description lists their
/// joints; links behind fixed joints are part of the body that carries them. A configuration q has
/// [`Model::nq`] entries, a velocity v has [`Model::nv`]; they differ where a joint turns freely:
///
/// | joint | q | v |
/// |---|---|---|
/// | revolute, prismatic | angle (rad), displacement (m) | its rate |
/// | planar | displacements a, b (m), angle (rad) | their rates |
/// | spherical | unit quaternion x, y, z, w | angular velocity in the child's frame |
/// | free-flyer | position x, y, z (m), unit quaternion x, y, z, w | linear, angular velocity in the child's frame |
///
/// Derivatives by q are along the tangent vectors v: ∂/∂q means the derivative by δ of f(q ⊕ δ) at
/// δ = 0 with q ⊕ δ as [`Model::integrate`] has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    name: String,
    pub(crate) bodies: Vec<Body>,
    frames: Vec<Frame>,
    /// Of every degree of freedom: its body.
    pub(crate) dof_body: Vec<usize>,
    /// Of every degree of freedom: joint name and properties.
    pub(crate) dofs: Vec<DegreeOfFreedom>,
    /// For every body the degrees of freedom of the bodies above it, ascending; one list after
    /// another.
    ancestor_dofs: Vec<usize>,
    nq: usize,
    /// Gravity (m/s²).
    pub(crate) gravity: V3<f64>,
    pub(crate) passive: PassiveForces,
}

/// A moving body with the joint that carries it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Body {
    pub(crate) name: String,
    /// The body that carries it; `None` for the world.
    pub(crate) parent: Option<usize>,
    pub(crate) joint: Joint,
    /// Entries of q and of v that belong to the joint.
    pub(crate) q: Range<usize>,
    pub(crate) v: Range<usize>,
    pub(crate) mass: f64,
    pub(crate) center: V3<f64>,
    pub(crate) rotational: Symmetric<f64>,
    /// Where in the list of ancestors this body's stand.
    ancestors: Range<usize>,
    /// Degrees of freedom of this body and of all behind it: one range, since numbers go depth first.
    pub(crate) subtree: Range<usize>,
    /// The degrees of freedom at, above and behind this body as few ranges.
    pub(crate) branch: Vec<Range<usize>>,
}

/// A joint with what its kinematics need, precomputed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joint {
    /// Origin in the parent body's frame.
    pub(crate) position: V3<f64>,
    pub(crate) motion: JointMotion,
}

/// The relative placement of a joint's child as a function of q. Matrices are in the parent's axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JointMotion {
    /// R = `constant` + cos q `cosine` + sin q `sine`.
    Revolute { constant: M3<f64>, cosine: M3<f64>, sine: M3<f64>, axis: V3<f64> },
    /// p = position + q axis.
    Prismatic { rotation: M3<f64>, axis: V3<f64> },
    /// R = `rotation` R(q).
    Spherical { rotation: M3<f64> },
    /// R = `rotation` R(q), p = position + `rotation` q_xyz.
    FreeFlyer { rotation: M3<f64> },
}

/// One degree of freedom.
#[derive(Debug, Clone, PartialEq)]
pub struct DegreeOfFreedom {
    /// Name of its joint; a planar joint's three have `.a`, `.b` and `.angle` behind it, those of a
    /// spherical joint or a free-flyer none.
    pub joint: String,
    /// Springs, friction, limits and rotor inertia.
    pub properties: JointProperties,
    /// Whether its position is the one entry of q with index [`Self::q`].
    pub scalar: bool,
    /// The entry of q, or the first entry of its joint.
    pub q: usize,
}

/// A frame fixed to a body: every link of the description is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Name of the link, or the name it was added with.
    pub name: String,
    /// Body that carries it; `None` for the world.
    pub(crate) body: Option<usize>,
    pub(crate) rotation: M3<f64>,
    pub(crate) position: V3<f64>,
}

/// Handle of a frame of a [`Model`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameId(pub(crate) usize);

impl Model {
    /// The tree that a description describes.
    ///
    /// # Errors
    /// [`ModelError`] for names that are used twice or that there are not, links that form no tree,
    /// masses and inertias that are negative or not finite.
    pub fn new(description: &RobotDescription, base: Base) -> Result<Self, ModelError> {
        let mut model = Self {
            name: description.name.clone(),
            bodies: Vec::new(),
            frames: Vec::new(),
            dof_body: Vec::new(),
            dofs: Vec::new(),
            ancestor_dofs: Vec::new(),
            nq: 0,
            gravity: description.gravity.into(),
            passive: PassiveForces::default(),
        };
        let root = root_link(description)?;
        // Depth first, the children of a link in the file's order. A stack, since chains may be long.
        let mut stack = Vec::new();
        match base {
            Base::Fixed => model.visit(description, root, None, Placement::IDENTITY, &mut stack)?,
            Base::Floating => {
                let body = model.add_body(
                    &description.links[root].name,
                    "root",
                    None,
                    &Placement::IDENTITY,
                    JointKind::FreeFlyer,
                    &JointProperties::default(),
                );
                model.visit(description, root, Some(body), Placement::IDENTITY, &mut stack)?;
            }
        }
        while let Some((joint, parent, placement)) = stack.pop() {
            let joint = &description.joints[joint];
            let link = find_link(description, &joint.child)?;
            let inner = Placement { r: joint.rotation, p: joint.position };
            let placement = placement.then(&inner);
            match joint.kind {
                JointKind::Fixed => {
                    model.visit(description, link, parent, placement, &mut stack)?;
                }
                JointKind::Planar { a, b, normal } => {
                    let mut body = parent;
                    let parts = [
                        (".a", JointKind::Prismatic(a)),
                        (".b", JointKind::Prismatic(b)),
                        (".angle", JointKind::Revolute(normal)),
                    ];
                    let mut placement = placement;
                    for (suffix, kind) in parts {
                        let name = format!("{}{suffix}", joint.name);
                        body = Some(model.add_body(
                            &joint.child,
                            &name,
                            body,
                            &placement,
                            kind,
                            &joint.properties,
                        ));
                        placement = Placement::IDENTITY;
                    }
                    model.visit(description, link, body, Placement::IDENTITY, &mut stack)?;
                }
                kind => {
                    let body = model.add_body(
                        &joint.child,
                        &joint.name,
                        parent,
                        &placement,
                        kind,
                        &joint.properties,
                    );
                    model.visit(description, link, Some(body), Placement::IDENTITY, &mut stack)?;
                }
            }
        }
        model.find_branches();
        let reached = model.frames.len();
        if reached < description.links.len() {
            let link = description
                .links
                .iter()
                .find(|link| model.frames.iter().all(|frame| frame.name != link.name));
            return Err(ModelError::NotATree {
                link: link.map(|link| link.name.clone()).unwrap_or_default(),
            });
        }
        Ok(model)
    }

    /// Puts a link's mass and frame onto its body and its joints onto the stack.
    fn visit(
        &mut self,
        description: &RobotDescription,
        link: usize,
        body: Option<usize>,
        placement: Placement,
        stack: &mut Vec<(usize, Option<usize>, Placement)>,
    ) -> Result<(), ModelError> {
        let link = &description.links[link];
        if self.frames.iter().any(|frame| frame.name == link.name) {
            return Err(ModelError::NotATree { link: link.name.clone() });
        }
        check_inertial(&link.name, &link.inertial)?;
        if let Some(body) = body {
            self.bodies[body].absorb(&link.inertial, &placement);
        }
        self.frames.push(Frame {
            name: link.name.clone(),
            body,
            rotation: rows(&placement.r),
            position: placement.p.into(),
        });
        let children =
            description.joints.iter().enumerate().filter(|(_, joint)| joint.parent == link.name);
        let first = stack.len();
        stack.extend(children.map(|(index, _)| (index, body, placement)));
        stack[first..].reverse();
        Ok(())
    }

    fn find_branches(&mut self) {
        for body in 0..self.bodies.len() {
            let above = self.ancestors(body).iter().map(|&dof| dof..dof + 1);
            let mut branch: Vec<Range<usize>> = Vec::new();
            for range in above.chain([self.bodies[body].subtree.clone()]) {
                match branch.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => branch.push(range),
                }
            }
            self.bodies[body].branch = branch;
        }
    }

    fn add_body(
        &mut self,
        name: &str,
        joint_name: &str,
        parent: Option<usize>,
        placement: &Placement,
        kind: JointKind,
        properties: &JointProperties,
    ) -> usize {
        let index = self.bodies.len();
        let r = placement.r;
        let (nq, nv, motion) = match kind {
            JointKind::Revolute(axis) => {
                // R₀ (a aᵀ + cos q (E − a aᵀ) + sin q [a])
                let along = axis * axis.transpose();
                let motion = JointMotion::Revolute {
                    constant: rows(&(r * along)),
                    cosine: rows(&(r * (Matrix3::identity() - along))),
                    sine: rows(&(r * axis.cross_matrix())),
                    axis: (r * axis).into(),
                };
                (1, 1, motion)
            }
            JointKind::Prismatic(axis) => {
                (1, 1, JointMotion::Prismatic { rotation: rows(&r), axis: (r * axis).into() })
            }
            JointKind::Spherical => (4, 3, JointMotion::Spherical { rotation: rows(&r) }),
            // Fixed and planar joints never come here.
            _ => (7, 6, JointMotion::FreeFlyer { rotation: rows(&r) }),
        };
        let first = self.dof_body.len();
        let start = self.ancestor_dofs.len();
        if let Some(parent) = parent {
            let Body { ancestors, v, .. } = &self.bodies[parent];
            let (ancestors, v) = (ancestors.clone(), v.clone());
            self.ancestor_dofs.extend_from_within(ancestors);
            self.ancestor_dofs.extend(v);
        }
        self.bodies.push(Body {
            name: name.to_owned(),
            parent,
            joint: Joint { position: placement.p.into(), motion },
            q: self.nq..self.nq + nq,
            v: first..first + nv,
            mass: 0.0,
            center: [0.0; 3],
            rotational: [0.0; 6],
            ancestors: start..self.ancestor_dofs.len(),
            subtree: first..first + nv,
            branch: Vec::new(),
        });
        let mut above = parent;
        while let Some(body) = above {
            self.bodies[body].subtree.end = first + nv;
            above = self.bodies[body].parent;
        }
        for _ in 0..nv {
            self.dof_body.push(index);
            self.dofs.push(DegreeOfFreedom {
                joint: joint_name.to_owned(),
                properties: *properties,
                scalar: nv == 1,
                q: self.nq,
            });
        }
        self.nq += nq;
        index
    }

    /// Name of the robot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Entries of a configuration.
    #[must_use]
    pub fn nq(&self) -> usize {
        self.nq
    }
    /// Entries of a velocity: the degrees of freedom.
    #[must_use]
    pub fn nv(&self) -> usize {
        self.dof_body.len()
    }
    /// Number of moving bodies.
    #[must_use]
    pub fn n_bodies(&self) -> usize {
        self.bodies.len()
    }
    /// The degrees of freedom in the order of v.
    #[must_use]
    pub fn dofs(&self) -> &[DegreeOfFreedom] {
        &self.dofs
    }
    /// The same, to change springs, friction, limits or rotor inertias.
    pub fn dofs_mut(&mut self) -> &mut [DegreeOfFreedom] {
        &mut self.dofs
    }
    /// Names of the joints in the order of q; those of a joint with several entries appear once.
    #[must_use]
    pub fn joint_names(&self) -> Vec<&str> {
        self.bodies.iter().map(|body| self.dofs[body.v.start].joint.as_str()).collect()
    }
    /// Sum of all masses that move (kg).
    #[must_use]
    pub fn mass(&self) -> f64 {
        self.bodies.iter().map(|body| body.mass).sum()
    }
    /// Name (of its first link), mass (kg) and centre of mass (m, in its own frame) of every body.
    pub fn bodies(&self) -> impl Iterator<Item = (&str, f64, Vector3<f64>)> {
        self.bodies.iter().map(|body| (body.name.as_str(), body.mass, body.center.into()))
    }
    /// Gravity (m/s²).
    #[must_use]
    pub fn gravity(&self) -> Vector3<f64> {
        self.gravity.into()
    }
    /// Changes gravity (m/s²).
    pub fn set_gravity(&mut self, gravity: Vector3<f64>) {
        self.gravity = gravity.into();
    }
    /// Changes how friction and position limits are made smooth.
    pub fn set_passive_forces(&mut self, passive: PassiveForces) {
        self.passive = passive;
    }
    /// The frames: one per link, and those added.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
    pub(crate) fn frame(&self, id: FrameId) -> &Frame {
        &self.frames[id.0]
    }

    /// The frame of the given name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], which lists the names there are.
    pub fn find_frame(&self, name: &str) -> Result<FrameId, ModelError> {
        self.frames.iter().position(|frame| frame.name == name).map(FrameId).ok_or_else(|| {
            ModelError::Unknown {
                what: "frame",
                name: name.to_owned(),
                valid: self.frames.iter().map(|frame| frame.name.clone()).collect(),
            }
        })
    }

    /// Adds a frame at `position` (m) in the axes of the frame `on`.
    pub fn add_frame(&mut self, name: &str, on: FrameId, position: Vector3<f64>) -> FrameId {
        let base = self.frames[on.0].clone();
        let offset: V3<f64> = position.into();
        let moved =
            super::spatial::add(super::spatial::apply(&base.rotation, offset), base.position);
        self.frames.push(Frame { name: name.to_owned(), position: moved, ..base });
        FrameId(self.frames.len() - 1)
    }

    /// Degrees of freedom of the bodies above `body`, ascending.
    #[inline(always)]
    pub(crate) fn ancestors(&self, body: usize) -> &[usize] {
        &self.ancestor_dofs[self.bodies[body].ancestors.clone()]
    }
}

impl Body {
    /// Adds a link that is fixed to this body.
    fn absorb(&mut self, link: &Inertial, placement: &Placement) {
        if link.mass == 0.0 && link.inertia == Matrix3::zeros() {
            return;
        }
        let center: Vector3<f64> = self.center.into();
        let added = placement.r * link.center + placement.p;
        let mass = self.mass + link.mass;
        let joint =
            if mass > 0.0 { (center * self.mass + added * link.mass) / mass } else { center };
        // Parallel axes: each part about the common centre.
        let shifted = |mass: f64, d: Vector3<f64>| {
            (Matrix3::identity() * d.norm_squared() - d * d.transpose()) * mass
        };
        let inertia = unpack(&self.rotational)
            + shifted(self.mass, center - joint)
            + placement.r * link.inertia * placement.r.transpose()
            + shifted(link.mass, added - joint);
        self.mass = mass;
        self.center = joint.into();
        let i = inertia;
        self.rotational = [i[(0, 0)], i[(1, 1)], i[(2, 2)], i[(0, 1)], i[(0, 2)], i[(1, 2)]];
    }
}

/// A rotation and a translation.
#[derive(Debug, Clone, Copy)]
struct Placement {
    r: Matrix3<f64>,
    p: Vector3<f64>,
}

impl Placement {
    const IDENTITY: Self = Self {
        r: Matrix3::new(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        p: Vector3::new(0.0, 0.0, 0.0),
    };

    /// Where `inner`, placed in this frame, is.
    fn then(&self, inner: &Self) -> Self {
        Self { r: self.r * inner.r, p: self.r * inner.p + self.p }
    }
}

fn rows(m: &Matrix3<f64>) -> M3<f64> {
    std::array::from_fn(|i| std::array::from_fn(|j| m[(i, j)]))
}

fn unpack(s: &Symmetric<f64>) -> Matrix3<f64> {
    Matrix3::new(s[0], s[3], s[4], s[3], s[1], s[5], s[4], s[5], s[2])
}

fn find_link(description: &RobotDescription, name: &str) -> Result<usize, ModelError> {
    description.links.iter().position(|link| link.name == name).ok_or_else(|| ModelError::Unknown {
        what: "link",
        name: name.to_owned(),
        valid: description.links.iter().map(|link| link.name.clone()).collect(),
    })
}

/// The one link that is no joint's child.
fn root_link(description: &RobotDescription) -> Result<usize, ModelError> {
    let is_child = |name: &str| description.joints.iter().any(|joint| joint.child == name);
    let mut roots = description.links.iter().enumerate().filter(|(_, link)| !is_child(&link.name));
    let Some((root, _)) = roots.next() else {
        let link = description.links.first().map(|link| link.name.clone()).unwrap_or_default();
        return Err(ModelError::NotATree { link });
    };
    match roots.next() {
        None => Ok(root),
        Some((_, second)) => Err(ModelError::NotATree { link: second.name.clone() }),
    }
}

fn check_inertial(link: &str, inertial: &Inertial) -> Result<(), ModelError> {
    let finite = inertial.mass.is_finite()
        && inertial.center.iter().chain(&inertial.inertia).all(|x| x.is_finite());
    if finite && inertial.mass >= 0.0 {
        return Ok(());
    }
    Err(ModelError::Inertial { link: link.to_owned(), mass: inertial.mass })
}

/// What can be wrong with a description or a name.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no such link, joint or frame.
    #[error("there is no {what} `{name}`; there are: {}", valid.join(", "))]
    Unknown {
        /// Link, joint or frame.
        what: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        valid: Vec<String>,
    },
    /// The links form no tree with one root.
    #[error("the links are no tree with one root: see link `{link}`")]
    NotATree {
        /// A second root, a link with two parents, or one on a cycle.
        link: String,
    },
    /// A mass or inertia is negative or not finite.
    #[error(
        "link `{link}` has mass {mass} kg; mass, centre and inertia must be finite, the mass not negative"
    )]
    Inertial {
        /// The link.
        link: String,
        /// Its mass.
        mass: f64,
    },
}
