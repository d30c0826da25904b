//! Every system call on the two trees, one function each with its errno policy inside. Nothing here
//! knows what a pass is. Names are single components below an open directory; no link is followed.

pub mod attributes;
pub mod cage;
pub mod data;
pub mod fd;
pub mod fence;
pub mod gates;
pub mod in_flight;
pub mod layout;
pub mod list;
pub mod memory;
pub mod met;
pub mod mounts;
pub mod names;
pub mod open;
pub mod operator;
pub mod path_list;
pub mod place;
pub mod private;
pub mod probe;
pub mod process;
pub mod project;
pub mod remedy;
pub mod roots;
mod sys;
pub mod trash;
pub mod tree_root;
pub mod trials;
pub mod trusted;
pub mod usage;
pub mod view;
pub mod xattr;

pub use fd::Fd;
pub use sys::leave;
