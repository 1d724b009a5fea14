//! Feeds anything to the MJCF loader, which must refuse or read it, and read finite numbers.

#![no_main]

use std::path::Path;

use dynamics::rigid_body::mjcf::{MjcfOptions, parse_mjcf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for allow_unsupported in [false, true] {
        let options = MjcfOptions { allow_unsupported };
        if let Ok(robot) = parse_mjcf(Path::new("fuzz.xml"), text, options) {
            for link in &robot.links {
                assert!(link.inertial.inertia.iter().all(|entry| entry.is_finite()));
            }
            assert_eq!(robot.joints.len() + 1, robot.links.len());
        }
    }
});
