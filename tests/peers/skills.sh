#!/usr/bin/env bash
# The published command line shows the owner's skills and switches one.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
operator skills list --json | holds 'j.skills.length === 1 && j.skills[0].name === "tea" && j.skills[0].eligible === true' || die "skills list"
operator skills list >"$WORK/table.txt" || die "skills list as a table"
grep -q tea "$WORK/table.txt" || die "the table has no tea: $(head -c 400 "$WORK/table.txt")"
operator skills info tea --json | holds 'j.skillKey === "tea" || j.name === "tea"' || die "skills info"
operator skills check --json | holds 'JSON.stringify(j).includes("tea")' || die "skills check"
rpc skills.update '{"skillKey":"tea","enabled":false}' | holds 'j.ok === true && j.config.enabled === false' || die "skills.update"
operator skills list --json | holds 'j.skills[0].disabled === true && j.skills[0].eligible === false' || die "switched off"
echo "skills: all steps passed"
