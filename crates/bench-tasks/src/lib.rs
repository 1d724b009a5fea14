//! bench-tasks
