import { defineConfig } from 'vite';

const server = process.env.CLAWCENTRAL_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  build: {
    target: 'es2023',
    // A data: font or script would break the Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    port: 5173,
    proxy: {
      '/api': { target: server, changeOrigin: false },
      '/gateway': { target: server, ws: true, changeOrigin: false },
    },
  },
});
