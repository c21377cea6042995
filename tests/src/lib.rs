//! Quorate tests.
