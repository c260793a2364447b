//! A transcript as a tree: its branches, the place in front of a question, and what stands on a branch.
//!
//! Only places are read of entries here (no bodies), and no more of them than `MOST_NODES`.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use claw_entities::{Scope, SessionKey, UserOwned, transcript_entry};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entry::{Body, Entry};
use super::listing::words_at;
use super::transcript::{self, SessionHead};
use super::{ConversationService, branch};
use crate::error::{Error, Result};
use crate::ports::message::{Message, Part};

/// Entries of a transcript that are looked at, counted from the newest. What is older is on no branch anybody can
/// choose.
const MOST_NODES: u64 = 20_000;
/// Branches of one list, the newest ones.
const MOST_BRANCHES: usize = 50;
/// Characters of a branch's headline, as the original.
const HEADLINE: usize = 120;
/// Images that go back into an editor, as the original.
const MOST_IMAGES: usize = 10;

/// Where an entry stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) parent_id: Option<String>,
    kind: String,
    created_at: i64,
}

/// One branch of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchTip {
    pub leaf_id: String,
    /// The last thing that was said on it. Empty when nothing was.
    pub headline: String,
    /// From the root to the leaf.
    pub messages: u64,
    /// Epoch milliseconds of the leaf.
    pub updated_at: i64,
    /// The branch in use.
    pub active: bool,
}

/// A question somebody wants to ask anew.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Newest entry that stays. `None`: the question was the first.
    pub before: Option<String>,
    /// As the person typed it.
    pub text: String,
    /// Kind and id of the stored bytes.
    pub images: Vec<(String, String)>,
}

impl ConversationService {
    /// The branches of the session's current transcript, the newest first. An unknown session has none.
    pub async fn branches(&self, scope: &Scope, key: &SessionKey) -> Result<Vec<BranchTip>> {
        let tx = self.db.read(scope).await?;
        let Some(head) = transcript::head(&*tx, scope, key).await? else {
            return Ok(Vec::new());
        };
        let nodes = nodes(&*tx, scope, &head.session_id).await?;
        let mut tips = tips(&nodes, head.leaf_id.as_deref());
        for tip in &mut tips {
            let seq = nodes.iter().find(|node| node.id == tip.leaf_id).map(|node| node.seq);
            let at = SessionHead {
                leaf_id: Some(tip.leaf_id.clone()),
                next_seq: seq.map_or(head.next_seq, |seq| seq + 1),
                ..head.clone()
            };
            tip.headline = words_at(&*tx, scope, &at, HEADLINE).await?.unwrap_or_default();
        }
        Ok(tips)
    }

    /// The question `entry_id` on the session's branch in use.
    ///
    /// # Errors
    /// `NotFound` without a session; `Invalid` when the entry is no question of that branch.
    pub async fn question(&self, scope: &Scope, key: &SessionKey, entry_id: &str) -> Result<Question> {
        let tx = self.db.read(scope).await?;
        let head = transcript::head(&*tx, scope, key)
            .await?
            .ok_or(Error::NotFound { what: "session" })?;
        question(&*tx, scope, &head, entry_id).await
    }
}

/// [`ConversationService::question`] within a transaction.
pub(crate) async fn question(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    entry_id: &str,
) -> Result<Question> {
    let unknown = || Error::invalid(format!("entry not found on the branch in use: {entry_id}"));
    if !branch::holds(tx, scope, head, entry_id).await? {
        return Err(unknown());
    }
    let row = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Id.eq(entry_id))
        .one(tx)
        .await?;
    let entry = row.and_then(Entry::from_row).ok_or_else(unknown)?;
    let not_asked = || Error::invalid(format!("entry is no message of a person: {entry_id}"));
    let Body::Message(body) = &entry.body else {
        return Err(not_asked());
    };
    let Message::User { content, .. } = body.message.as_ref() else {
        return Err(not_asked());
    };
    let said = content.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::Image { .. } | Part::File { .. } => None,
    });
    let text = body
        .display
        .clone()
        .unwrap_or_else(|| said.collect::<Vec<_>>().join("\n"));
    let images = content.iter().filter_map(|part| match part {
        Part::Image {
            blob: Some(blob),
            mime_type,
            ..
        } => Some((mime_type.clone(), blob.clone())),
        // A client's editor takes images alone.
        Part::Image { blob: None, .. } | Part::File { .. } | Part::Text { .. } => None,
    });
    Ok(Question {
        before: entry.parent_id,
        text,
        images: images.take(MOST_IMAGES).collect(),
    })
}

/// Is this entry the end of a branch, or the newest entry of the one in use.
pub(crate) async fn is_tip(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    entry_id: &str,
) -> Result<bool> {
    let Some(seq) = branch::seq_of(tx, scope, &head.session_id, entry_id).await? else {
        return Ok(false);
    };
    if head.leaf_id.as_deref() == Some(entry_id) {
        return Ok(true);
    }
    let behind: Option<i64> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Seq)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Seq.gt(seq))
        .filter(transcript_entry::Column::ParentId.eq(entry_id))
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(behind.is_none())
}

/// Ids of the `most` newest entries on the branch that ends with `leaf`, newest first.
pub(crate) async fn ids_up_to(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session_id: &str,
    leaf: &str,
    most: usize,
) -> Result<Vec<String>> {
    let Some(seq) = branch::seq_of(tx, scope, session_id, leaf).await? else {
        return Ok(Vec::new());
    };
    let mut ids = Vec::new();
    branch::trace(tx, scope, session_id, (seq + 1, leaf), |place| {
        ids.push(place.id.clone());
        if ids.len() < most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .await?;
    Ok(ids)
}

/// Places of the newest entries of a transcript, newest first.
pub(crate) async fn nodes(tx: &impl ConnectionTrait, scope: &Scope, session_id: &str) -> Result<Vec<Node>> {
    let rows: Vec<(i64, String, Option<String>, String, i64)> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Seq)
        .column(transcript_entry::Column::Id)
        .column(transcript_entry::Column::ParentId)
        .column(transcript_entry::Column::Kind)
        .column(transcript_entry::Column::CreatedAt)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .order_by_desc(transcript_entry::Column::Seq)
        .limit(MOST_NODES)
        .into_tuple()
        .all(tx)
        .await?;
    let node = |(seq, id, parent_id, kind, created_at)| Node {
        seq,
        id,
        parent_id,
        kind,
        created_at,
    };
    Ok(rows.into_iter().map(node).collect())
}

/// The branch that ends with `leaf`, newest entry first. `nodes` are in descending order, and a parent's place is
/// always smaller, so one pass finds it.
pub(crate) fn path<'a>(nodes: &'a [Node], leaf: Option<&'a str>) -> impl Iterator<Item = &'a Node> {
    let mut wanted = leaf;
    nodes.iter().filter(move |node| {
        let met = wanted == Some(node.id.as_str());
        if met {
            wanted = node.parent_id.as_deref();
        }
        met
    })
}

/// The ends of all branches, the newest first, still without headlines.
fn tips(nodes: &[Node], leaf: Option<&str>) -> Vec<BranchTip> {
    let parents: HashSet<&str> = nodes.iter().filter_map(|node| node.parent_id.as_deref()).collect();
    let mut messages: HashMap<&str, u64> = HashMap::with_capacity(nodes.len());
    for node in nodes.iter().rev() {
        let before = node.parent_id.as_deref().and_then(|parent| messages.get(parent));
        let before = before.copied().unwrap_or(0);
        messages.insert(&node.id, before + u64::from(node.kind == "message"));
    }
    let ends = nodes.iter().filter(|node| {
        // Left in the middle, the branch in use ends where others go on.
        !parents.contains(node.id.as_str()) || leaf == Some(node.id.as_str())
    });
    let tip = |node: &Node| BranchTip {
        leaf_id: node.id.clone(),
        headline: String::new(),
        messages: messages.get(node.id.as_str()).copied().unwrap_or(0),
        updated_at: node.created_at,
        active: leaf == Some(node.id.as_str()),
    };
    let mut tips: Vec<BranchTip> = ends.map(tip).collect();
    // The one in use is among them, however old it is.
    tips.sort_by_key(|tip| !tip.active);
    tips.truncate(MOST_BRANCHES);
    tips.sort_by(|one, other| {
        let order = other.updated_at.cmp(&one.updated_at);
        order.then_with(|| other.leaf_id.cmp(&one.leaf_id))
    });
    tips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seq: i64, id: &str, parent: Option<&str>) -> Node {
        Node {
            seq,
            id: id.to_owned(),
            parent_id: parent.map(str::to_owned),
            kind: "message".to_owned(),
            created_at: seq,
        }
    }

    /// a ─ b ─ c ─ d, and e behind b.
    fn tree() -> Vec<Node> {
        let mut nodes = vec![
            node(1, "a", None),
            node(2, "b", Some("a")),
            node(3, "c", Some("b")),
            node(4, "d", Some("c")),
            node(5, "e", Some("b")),
        ];
        nodes.reverse();
        nodes
    }

    fn ends(leaf: Option<&str>) -> Vec<(String, u64, bool)> {
        let tips = tips(&tree(), leaf);
        tips.into_iter()
            .map(|tip| (tip.leaf_id, tip.messages, tip.active))
            .collect()
    }

    #[test]
    fn every_branch_ends_once() {
        let (d, e) = (
            |active| ("d".to_owned(), 4, active),
            |active| ("e".to_owned(), 3, active),
        );
        assert_eq!(ends(Some("e")), [e(true), d(false)]);
        assert_eq!(ends(Some("d")), [e(false), d(true)]);
        // Left in the middle: the place itself is a branch.
        assert_eq!(ends(Some("b")), [e(false), d(false), ("b".to_owned(), 2, true)]);
        assert_eq!(ends(None), [e(false), d(false)]);
        assert!(tips(&[], None).is_empty());
    }

    #[test]
    fn the_branch_in_use_is_never_cut_off() {
        let mut nodes: Vec<Node> = (2..200).rev().map(|at| node(at, &at.to_string(), Some("1"))).collect();
        nodes.push(node(1, "1", None));
        let tips = tips(&nodes, Some("2"));
        assert_eq!(tips.len(), MOST_BRANCHES);
        assert!(tips.last().expect("the oldest").active);
    }

    #[test]
    fn a_path_leads_to_the_root_or_as_far_as_there_are_places() {
        let ids = |nodes: &[Node], leaf| path(nodes, leaf).map(|node| node.id.clone()).collect::<String>();
        let mut nodes = tree();
        assert_eq!(ids(&nodes, Some("d")), "dcba");
        assert_eq!(ids(&nodes, Some("e")), "eba");
        assert_eq!(ids(&nodes, Some("nowhere")), "");
        assert_eq!(ids(&nodes, None), "");
        nodes.truncate(3);
        assert_eq!(ids(&nodes, Some("d")), "dc");
    }
}
