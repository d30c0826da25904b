//! The protocol simulated: thousands of ranks in one thread, in virtual time, by seed.
//!
//! A `Plan` is drawn from a seed, a `World` runs it, and checkers that share no code with the
//! scheduler watch every step. A failure prints the line that replays it. Small cases are explored
//! exhaustively instead (`explore`).

mod bag;
mod bounds;
mod checkers;
mod cuts;
mod events;
mod explore;
mod figures;
mod network;
mod plan;
mod sabotage;
mod tests;
mod trees;
mod watch;
mod world;
