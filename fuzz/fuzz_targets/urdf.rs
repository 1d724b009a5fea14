//! Feeds anything to the URDF loader, which must refuse or read it, and read finite numbers.

#![no_main]

use std::path::Path;

use dynamics::rigid_body::urdf::parse_urdf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(robot) = parse_urdf(Path::new("fuzz.urdf"), text) {
        for link in &robot.links {
            assert!(link.inertial.inertia.iter().all(|entry| entry.is_finite()));
        }
        assert_eq!(robot.joints.len() + 1, robot.links.len());
    }
});
