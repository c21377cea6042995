//! Quorate simulation.
