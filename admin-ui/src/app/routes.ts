/** The pages. Adding one is a folder under `pages/` and a line here. */
import type { Session } from '../api/session.ts';
import type { IconName } from '../components/claw-icon.ts';
import { t } from '../i18n/index.ts';

export interface Route {
  path: string;
  tag: string;
  title: string;
  icon: IconName;
  group: 'main' | 'settings';
  /** Hidden from members. The server decides; this only spares people a refusal. */
  adminOnly?: boolean;
  load: () => Promise<unknown>;
}

export const routes: readonly Route[] = [
  {
    path: '/chat',
    tag: 'claw-page-chat',
    title: t.nav.chat,
    icon: 'chat',
    group: 'main',
    load: () => import('../pages/chat/claw-page-chat.ts'),
  },
  {
    path: '/activity',
    tag: 'claw-page-activity',
    title: t.nav.activity,
    icon: 'activity',
    group: 'main',
    load: () => import('../pages/activity/claw-page-activity.ts'),
  },
  {
    path: '/channels',
    tag: 'claw-page-channels',
    title: t.nav.channels,
    icon: 'channels',
    group: 'main',
    load: () => import('../pages/channels/claw-page-channels.ts'),
  },
  {
    path: '/devices',
    tag: 'claw-page-devices',
    title: t.nav.devices,
    icon: 'devices',
    group: 'main',
    load: () => import('../pages/devices/claw-page-devices.ts'),
  },
  {
    path: '/skills',
    tag: 'claw-page-skills',
    title: t.nav.skills,
    icon: 'skills',
    group: 'main',
    load: () => import('../pages/skills/claw-page-skills.ts'),
  },
  {
    path: '/settings/ai-providers',
    tag: 'claw-page-providers',
    title: t.nav.providers,
    icon: 'providers',
    group: 'settings',
    adminOnly: true,
    load: () => import('../pages/settings/ai-providers/claw-page-providers.ts'),
  },
  {
    path: '/settings/mcp-servers',
    tag: 'claw-page-mcp-servers',
    title: t.nav.mcpServers,
    icon: 'servers',
    group: 'settings',
    load: () => import('../pages/settings/mcp-servers/claw-page-mcp-servers.ts'),
  },
  {
    path: '/settings/tokens',
    tag: 'claw-page-tokens',
    title: t.nav.tokens,
    icon: 'tokens',
    group: 'settings',
    load: () => import('../pages/settings/tokens/claw-page-tokens.ts'),
  },
  {
    path: '/settings/budgets',
    tag: 'claw-page-budgets',
    title: t.nav.budgets,
    icon: 'budgets',
    group: 'settings',
    load: () => import('../pages/settings/budgets/claw-page-budgets.ts'),
  },
  {
    path: '/settings/members',
    tag: 'claw-page-members',
    title: t.nav.members,
    icon: 'members',
    group: 'settings',
    adminOnly: true,
    load: () => import('../pages/settings/members/claw-page-members.ts'),
  },
  {
    path: '/settings/audit',
    tag: 'claw-page-audit',
    title: t.nav.audit,
    icon: 'audit',
    group: 'settings',
    adminOnly: true,
    load: () => import('../pages/settings/audit/claw-page-audit.ts'),
  },
  {
    path: '/settings/account',
    tag: 'claw-page-account',
    title: t.nav.account,
    icon: 'account',
    group: 'settings',
    load: () => import('../pages/settings/account/claw-page-account.ts'),
  },
];

export function visibleRoutes(session: Session): Route[] {
  return routes.filter((route) => !route.adminOnly || session.user.role !== 'member');
}
