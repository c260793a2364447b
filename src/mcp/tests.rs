//! Servers scripted at the network edge.
