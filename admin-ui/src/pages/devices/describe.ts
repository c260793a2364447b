/** Words for devices. Pure. */
interface Named {
  displayName?: string;
  label?: string;
  deviceId?: string;
  clientId?: string;
}

export function deviceName(device: Named): string {
  return device.label || device.displayName || device.clientId || device.deviceId?.slice(0, 12) || '';
}

export function platformLine(device: {
  platform?: string;
  deviceFamily?: string;
  version?: string;
  clientId?: string;
}): string {
  const platform = device.deviceFamily || device.platform;
  return [platform, device.clientId, device.version].filter(Boolean).join(' · ');
}

/** The command that starts a headless node against this server. */
export function nodeCommand(place: { protocol: string; hostname: string; port: string }): string {
  const tls = place.protocol === 'https:';
  const port = place.port || (tls ? '443' : '80');
  const start = `openclaw node run --host ${place.hostname} --port ${port} --context-path /gateway/ws`;
  return `OPENCLAW_GATEWAY_TOKEN=<token> ${start}${tls ? ' --tls' : ''}`;
}
