//! Nobody gives more than they have: approvals, rotations, setup codes.

use std::cell::Cell;

use claw_entities::{UserOwned, setup_code};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;

use super::examples;
use crate::config::devices::setup_codes::SetupAccess;
use crate::config::devices::surface::SurfaceClaim;
use crate::config::devices::{DeviceClaim, Paired, Pairing};
use crate::config::testing;
use crate::gateway::scopes::{self, ADMIN, APPROVALS, PAIRING, QUESTIONS, READ, TALK, WRITE};

const ALL: [&str; 9] = [
    ADMIN,
    APPROVALS,
    PAIRING,
    QUESTIONS,
    READ,
    TALK,
    WRITE,
    "operator.talk.secrets",
    "operator.made-up",
];

/// Some of the scopes, in some order.
fn some() -> impl Strategy<Value = Vec<String>> {
    let some = subsequence(ALL.to_vec(), 0..ALL.len()).prop_shuffle();
    some.prop_map(|scopes| scopes.into_iter().map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(examples(512))]

    #[test]
    fn what_is_granted_was_asked_and_held(asked in some(), held in some()) {
        let granted = scopes::intersect(&asked, &held);
        prop_assert!(scopes::holds_all(&held, &granted));
        prop_assert!(granted.iter().all(|scope| asked.contains(scope)));
        for scope in &asked {
            prop_assert_eq!(granted.contains(scope), scopes::holds(&held, scope), "{}", scope);
        }
    }
}

fn claim(number: u32, role: &str, asked: &[String]) -> DeviceClaim {
    DeviceClaim {
        device_id: format!("device-{number}"),
        public_key: "A".repeat(43),
        display_name: None,
        platform: "linux".to_owned(),
        device_family: String::new(),
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        role: role.to_owned(),
        scopes: asked.to_vec(),
    }
}

#[test]
fn no_surface_is_approved_by_who_lacks_what_its_commands_need() {
    let io = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (server, owner) = io.block_on(async {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let Pairing::Required(request) = server
            .config
            .check_pairing(&owner, &claim(0, "node", &[]))
            .await
            .expect("asks")
        else {
            panic!("a new device is not let in");
        };
        let admin = [ADMIN.to_owned()];
        server
            .config
            .approve_device(&owner, &request.request_id, &admin)
            .await
            .expect("pairs");
        (server, owner)
    });
    let config = &server.config;
    let command = select(vec![
        "system.run",
        "system.notify",
        "browser.proxy",
        "camera.snap",
        "canvas.present",
        "fs.listDir",
    ]);
    let wishes = (proptest::collection::vec(command, 0..4), some());
    let outcome = TestRunner::new(examples(96)).run(&wishes, |(commands, approver)| {
        io.block_on(async {
            let commands: Vec<String> = commands.into_iter().map(str::to_owned).collect();
            let surface = SurfaceClaim {
                node_id: "device-0".to_owned(),
                caps: Vec::new(),
                commands: commands.clone(),
                facts: serde_json::json!({"platform": "linux"}),
            };
            let before = config.node(&owner, "device-0").await.expect("is there").commands();
            config.declare_surface(&owner, &surface).await.expect("declares");
            let node = config.node(&owner, "device-0").await.expect("is there");
            let Some(request) = node.pending_request() else {
                prop_assert!(commands.iter().all(|command| before.contains(command)), "nothing new");
                return Ok(());
            };
            let needs_admin = ["system.run", "browser.proxy", "fs.listDir"];
            let allowed = scopes::holds(&approver, PAIRING)
                && (commands.is_empty() || scopes::holds(&approver, WRITE))
                && (scopes::holds(&approver, ADMIN)
                    || commands.iter().all(|command| !needs_admin.contains(&command.as_str())));
            let done = config.approve_surface(&owner, request, &approver).await;
            prop_assert_eq!(done.is_ok(), allowed, "{:?} by {:?}", &commands, &approver);
            let now = config.node(&owner, "device-0").await.expect("is there").commands();
            if allowed {
                prop_assert!(commands.iter().all(|command| now.contains(command)));
            } else {
                prop_assert_eq!(now, before, "what was approved before stays");
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn paired(pairing: Pairing) -> Option<Paired> {
    match pairing {
        Pairing::Paired(paired) => Some(paired),
        Pairing::Required(_) => None,
    }
}

#[test]
fn no_approval_rotation_or_setup_code_gives_more_than_its_giver_has() {
    let io = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (server, owner) = io.block_on(async {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        (server, owner)
    });
    let config = &server.config;
    let next = Cell::new(0);
    let roles = select(vec!["operator", "node"]);
    let accesses = select(vec![SetupAccess::Node, SetupAccess::Limited, SetupAccess::Full]);
    let wishes = (roles, some(), some(), some(), some(), accesses);
    let outcome = TestRunner::new(examples(96)).run(&wishes, |(role, asked, approver, wider, narrowed, access)| {
        io.block_on(async {
            let number = next.replace(next.get() + 2);
            let asked = if role == "node" { Vec::new() } else { asked };
            let mut claim_now = claim(number, role, &asked);
            // It is approved, and then asks for more of somebody who has something else.
            for approver in [&approver, &wider] {
                let Pairing::Required(request) = config.check_pairing(&owner, &claim_now).await.expect("checks") else {
                    break;
                };
                let allowed = scopes::holds_all(approver, &claim_now.scopes)
                    && (role == "operator" || scopes::holds(approver, ADMIN));
                let done = config.approve_device(&owner, &request.request_id, approver).await;
                prop_assert_eq!(done.is_ok(), allowed, "{:?} by {:?}", &claim_now.scopes, approver);
                let now = paired(config.check_pairing(&owner, &claim_now).await.expect("checks"));
                prop_assert_eq!(now.is_some(), allowed);
                let Some(now) = now else { return Ok(()) };
                prop_assert!(scopes::holds_all(&scopes::union(approver, &asked), &now.scopes));
                if role == "operator" {
                    claim_now.scopes = scopes::union(&asked, &wider);
                }
            }
            let held = paired(
                config
                    .check_pairing(&owner, &claim(number, role, &[]))
                    .await
                    .expect("checks"),
            );
            if let Some(held) = held {
                let rotated = config
                    .rotate_device_token(&owner, &claim_now.device_id, role, Some(&narrowed))
                    .await;
                prop_assert_eq!(rotated.is_ok(), scopes::holds_all(&held.scopes, &narrowed));
                if let Ok(rotated) = rotated {
                    prop_assert!(scopes::holds_all(&held.scopes, &rotated.scopes));
                }
            }
            // Codes nobody can redeem would fill the room for open ones.
            let tx = server.db.write(&owner).await.expect("begins");
            setup_code::Entity::delete_owned(&owner)
                .exec(&*tx)
                .await
                .expect("deletes");
            tx.commit().await.expect("ends");
            let code = config
                .create_setup_code(&owner, access, "wss://acme.test", false, &approver)
                .await
                .expect("makes one");
            let joining = claim(number + 1, "node", &[]);
            let joined = config
                .redeem_setup_code(owner.tenant_scope(), &code.bootstrap, &joining)
                .await
                .expect("checks");
            prop_assert_eq!(
                joined.is_some(),
                scopes::holds(&approver, ADMIN),
                "only who has admin brings nodes in"
            );
            if joined.is_some() {
                let operator = claim(number + 1, "operator", &[]);
                let operator = paired(config.check_pairing(&owner, &operator).await.expect("checks"));
                prop_assert_eq!(operator.is_some(), access != SetupAccess::Node);
                let granted = operator.map(|operator| operator.scopes).unwrap_or_default();
                prop_assert!(scopes::holds_all(&approver, &granted));
                prop_assert!(access == SetupAccess::Full || !granted.contains(&ADMIN.to_owned()));
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
