//! Whether the links and joints of a URDF file form one tree, and whether what moves has mass.

use std::collections::HashMap;

use super::description::{JointDescription, JointKind, LinkDescription};
use super::error::{RobotFileError, RobotFileProblem as Problem};
use super::xml::{Remarks, XmlFile, excerpt};

/// Checks names and the tree, and warns about links that move without mass.
///
/// # Errors
/// If a name is used twice or refers to nothing, if a link has two parents, or if there is not
/// exactly one root from which all links are reached.
pub(super) fn check(
    file: &XmlFile<'_>,
    links: &[LinkDescription],
    joints: &[JointDescription],
    remarks: &mut Remarks,
) -> Result<(), RobotFileError> {
    let Some(first) = links.first() else {
        return Err(file.error(file.root().line(), Problem::Empty));
    };
    let mut link_of = HashMap::new();
    for (idx, link) in links.iter().enumerate() {
        if let Some(before) = link_of.insert(link.name.as_str(), idx) {
            return Err(duplicate(file, "link", &link.name, link.line, links[before].line));
        }
    }
    let mut joint_of = HashMap::new();
    for (idx, joint) in joints.iter().enumerate() {
        if let Some(before) = joint_of.insert(joint.name.as_str(), idx) {
            return Err(duplicate(file, "joint", &joint.name, joint.line, joints[before].line));
        }
    }
    // For each link the joint that carries it, and the joints that hang on it.
    let mut carried_by: Vec<Option<usize>> = vec![None; links.len()];
    let mut carries: Vec<Vec<(usize, usize)>> = vec![Vec::new(); links.len()];
    for (idx, joint) in joints.iter().enumerate() {
        let find = |what, name: &str| {
            link_of.get(name).copied().ok_or_else(|| {
                let referrer = excerpt(&joint.name);
                file.error(joint.line, Problem::Unknown { what, name: excerpt(name), referrer })
            })
        };
        let parent = find("parent link", &joint.parent)?;
        let child = find("child link", &joint.child)?;
        if let Some(before) = carried_by[child] {
            let problem = Problem::TwoParents {
                link: excerpt(&joint.child),
                first: excerpt(&joints[before].name),
                first_line: joints[before].line,
                second: excerpt(&joint.name),
            };
            return Err(file.error(joint.line, problem));
        }
        carried_by[child] = Some(idx);
        carries[parent].push((idx, child));
    }
    let mut roots = (0..links.len()).filter(|link| carried_by[*link].is_none());
    let Some(root) = roots.next() else {
        let problem = Problem::Cycle { link: excerpt(&first.name) };
        return Err(file.error(first.line, problem));
    };
    if let Some(second) = roots.next() {
        let problem = Problem::Roots {
            first: excerpt(&links[root].name),
            first_line: links[root].line,
            second: excerpt(&links[second].name),
        };
        return Err(file.error(links[second].line, problem));
    }
    // Parents before children.
    let mut order = vec![root];
    let mut reached = vec![false; links.len()];
    let mut next = 0;
    while let Some(&link) = order.get(next) {
        reached[link] = true;
        order.extend(carries[link].iter().map(|(_, child)| *child));
        next += 1;
    }
    if let Some(link) = (0..links.len()).find(|link| !reached[*link]) {
        let problem = Problem::Cycle { link: excerpt(&links[link].name) };
        return Err(file.error(links[link].line, problem));
    }
    warn_about_missing_mass(links, joints, &order, &carries, remarks);
    Ok(())
}

/// Warns about joints that move nothing that has mass. `order` lists parents before children.
fn warn_about_missing_mass(
    links: &[LinkDescription],
    joints: &[JointDescription],
    order: &[usize],
    carries: &[Vec<(usize, usize)>],
    remarks: &mut Remarks,
) {
    // Of each link with all that is fixed to it, and with all that hangs on it.
    let mut has_mass: Vec<(bool, bool)> =
        links.iter().map(|link| (link.inertial.mass > 0.0, link.inertial.mass > 0.0)).collect();
    for &link in order.iter().rev() {
        for &(joint, child) in &carries[link] {
            let (rigid, total) = has_mass[child];
            has_mass[link].0 |= rigid && joints[joint].kind == JointKind::Fixed;
            has_mass[link].1 |= total;
        }
    }
    for &(joint, child) in carries.iter().flatten() {
        let moving = &joints[joint];
        let (rigid, total) = has_mass[child];
        if rigid || moving.kind == JointKind::Fixed {
            continue;
        }
        let (link, joint) = (excerpt(&moving.child), excerpt(&moving.name));
        let consequence = if total {
            "only what hangs on it has mass"
        } else {
            "nothing behind it has mass either, and the mass matrix is singular"
        };
        remarks.add(
            moving.line,
            format!("link `{link}`, moved by joint `{joint}`, has no mass: {consequence}"),
        );
    }
}

fn duplicate(
    file: &XmlFile<'_>,
    what: &'static str,
    name: &str,
    line: u32,
    first: u32,
) -> RobotFileError {
    file.error(line, Problem::Duplicate { what, name: excerpt(name), first })
}
