// Loads the chart library once a page; it is a plain script that leaves its name on the window.

let loading = null;

export function loadLibrary(address) {
  loading ??= new Promise((ready, failed) => {
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI);
    script.onload = () => ready(window.LightweightCharts);
    script.onerror = () => {
      loading = null;
      script.remove();
      failed(new Error("The chart library could not be loaded: is the package lwcharts installed beside the dashboard?"));
    };
    document.head.append(script);
  });
  return loading;
}
