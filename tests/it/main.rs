//! Whole-system tests: the real binary, real clients, a fake outside world.
//!
//! Every test starts `clawcentral` on a port of its own with a database of its own: a SQLite file, or with
//! `CLAW_TEST_DATABASE=postgres` a PostgreSQL database. The outside (platforms, model) is played by [`support`].

mod support;

mod acceptance;
mod approvals;
mod approving;
mod budgets;
mod chaos;
mod commands;
mod compaction;
mod configuration;
mod cron;
mod database_away;
mod directives;
mod disk_full;
mod embeddings;
mod exec_runs;
mod failover;
mod files;
mod gateway_flow;
mod gateway_methods;
mod guests;
mod heartbeat;
mod hooks;
mod hostile;
mod isolation;
mod joining;
mod lock_outs;
mod logs;
mod long_run;
mod mcp;
mod media;
mod memory;
mod menus;
mod message_tool;
mod node_calls;
mod nodes_tool;
mod own_chat;
mod peers;
mod programs;
mod provider_failures;
mod provider_faults;
mod reactions;
mod replies;
mod scenarios;
mod sending;
mod session_groups;
mod session_order;
mod session_tree;
mod sessions_flow;
mod shortcuts;
mod signature_vectors;
mod skill_calls;
mod skill_store;
mod skills;
mod spans;
mod steering;
mod stopping;
mod tenancy;
mod tidy;
mod tls;
mod tools;
mod understanding;
mod webhook_flow;
