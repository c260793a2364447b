/** Paired devices, and the nodes that an assistant can act on. Reached through the gateway. */
import type { GatewayClient } from './gateway.ts';

export interface PendingDevice {
  requestId: string;
  deviceId: string;
  displayName?: string;
  platform?: string;
  deviceFamily?: string;
  clientId?: string;
  clientMode?: string;
  role?: string;
  roles?: string[];
  scopes?: string[];
  isRepair?: boolean;
  ts?: number;
}

export interface PairedDevice {
  deviceId: string;
  displayName?: string;
  label?: string;
  platform?: string;
  deviceFamily?: string;
  clientId?: string;
  role?: string;
  roles?: string[];
  scopes?: string[];
  approvedAtMs?: number;
  lastSeenAtMs?: number;
  connected?: boolean;
}

export interface DeviceList {
  pending: PendingDevice[];
  paired: PairedDevice[];
}

export interface PendingSurface {
  requestId: string;
  nodeId: string;
  displayName?: string;
  platform?: string;
  version?: string;
  caps?: string[];
  commands?: string[];
  requiredApproveScopes?: string[];
  ts?: number;
}

export interface NodeRow {
  nodeId: string;
  displayName?: string;
  platform?: string;
  version?: string;
  deviceFamily?: string;
  caps?: string[];
  commands?: string[];
  approvalState?: string;
  connected?: boolean;
  lastSeenAtMs?: number;
}

export function listDevices(gateway: GatewayClient): Promise<DeviceList> {
  return gateway.request('device.pair.list');
}

export function approveDevice(gateway: GatewayClient, requestId: string): Promise<unknown> {
  return gateway.request('device.pair.approve', { requestId });
}

export function rejectDevice(gateway: GatewayClient, requestId: string): Promise<unknown> {
  return gateway.request('device.pair.reject', { requestId });
}

export function removeDevice(gateway: GatewayClient, deviceId: string): Promise<unknown> {
  return gateway.request('device.pair.remove', { deviceId });
}

export function renameDevice(gateway: GatewayClient, deviceId: string, label: string): Promise<unknown> {
  return gateway.request('device.pair.rename', { deviceId, label });
}

export async function listPendingSurfaces(gateway: GatewayClient): Promise<PendingSurface[]> {
  return (await gateway.request<{ pending?: PendingSurface[] }>('node.pair.list')).pending ?? [];
}

export function approveSurface(gateway: GatewayClient, requestId: string): Promise<unknown> {
  return gateway.request('node.pair.approve', { requestId });
}

export function rejectSurface(gateway: GatewayClient, requestId: string): Promise<unknown> {
  return gateway.request('node.pair.reject', { requestId });
}

export async function listNodes(gateway: GatewayClient): Promise<NodeRow[]> {
  return (await gateway.request<{ nodes?: NodeRow[] }>('node.list')).nodes ?? [];
}

/** One-paste set-up of a node, when the server offers it. */
export interface SetupCode {
  setupCode: string;
  joinUrl?: string;
  expiresAtMs?: number;
}

export function createSetupCode(gateway: GatewayClient): Promise<SetupCode> {
  return gateway.request('device.pair.setupCode', { bootstrapProfile: 'node', joinUrl: true });
}
