import { defineConfig } from "vite";

// File names carry no hash: the server answers with an ETag of the content instead.
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { entryFileNames: "page.js", assetFileNames: "page[extname]" },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:9440" } },
});
