/** MCP servers of the person who is signed in: whose tools their agents may use. */
import { request, segment } from './http.ts';

export interface McpServer {
  name: string;
  /** What its tools' names begin with, before `__`. */
  prefix: string;
  url: string;
  enabled: boolean;
  /** Names alone: values are never shown. */
  headers: string[];
  connectionTimeoutMs: number;
  requestTimeoutMs: number;
  include: string[];
  exclude: string[];
  guests: string[];
  state: 'unknown' | 'ready' | 'failing';
  problem?: string | null;
  tools?: number | null;
}

/** What is absent stays as it was. An empty header is taken away. */
export interface McpServerChange {
  url?: string;
  enabled?: boolean;
  headers?: Record<string, string>;
  requestTimeoutMs?: number;
  include?: string[];
  exclude?: string[];
  guests?: string[];
}

export interface McpTool {
  name: string;
  called: string;
  title?: string | null;
  description: string;
  readOnly: boolean;
  /** It says something else than before, and waits for approval. */
  changed: boolean;
}

export interface McpTest {
  ok: boolean;
  problem?: string | null;
  server?: string | null;
  protocol?: string | null;
  tools: McpTool[];
  leftOut: number;
  fingerprint?: string | null;
}

const path = (name: string) => `/api/mcp-servers/${segment(name)}`;

export async function listMcpServers(signal?: AbortSignal): Promise<McpServer[]> {
  const body = await request<{ servers: McpServer[] }>('GET', '/api/mcp-servers', signal ? { signal } : {});
  return body.servers;
}

export function saveMcpServer(name: string, change: McpServerChange): Promise<McpServer> {
  return request('PUT', path(name), { body: change });
}

export function deleteMcpServer(name: string): Promise<void> {
  return request('DELETE', path(name));
}

/** Connects anew and asks for the tools. */
export function testMcpServer(name: string): Promise<McpTest> {
  return request('POST', `${path(name)}/test`, { body: {} });
}

/** Lets the tools in as they were shown. */
export function approveMcpTools(name: string, fingerprint: string): Promise<void> {
  return request('POST', `${path(name)}/approve`, { body: { fingerprint } });
}
