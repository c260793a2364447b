//! The system from outside: one binary, one module per subject.

mod signature_vectors;
