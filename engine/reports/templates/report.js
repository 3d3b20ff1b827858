const root = document.documentElement, key = 'ringbook-report-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
let chosen = null;
try { chosen = localStorage.getItem(key); } catch (error) { chosen = null; }
const asked = new URLSearchParams(location.search).get('theme') || chosen;
const show = theme => { root.dataset.theme = theme; };
show(asked || (dark.matches ? 'dark' : 'light'));
dark.addEventListener('change', event => { if (!chosen) show(event.matches ? 'dark' : 'light'); });
document.getElementById('theme').addEventListener('click', () => {
  chosen = root.dataset.theme === 'dark' ? 'light' : 'dark';
  show(chosen);
  try { localStorage.setItem(key, chosen); } catch (error) { chosen = chosen; }
});
for (const chart of document.querySelectorAll('svg[data-course]')) {
  const course = JSON.parse(chart.dataset.course), told = document.createElement('div');
  told.className = 'told';
  chart.parentElement.append(told);
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  line.setAttribute('class', 'at');
  chart.append(line);
  const hide = () => { told.style.display = 'none'; line.removeAttribute('d'); };
  chart.addEventListener('pointerleave', hide);
  chart.addEventListener('pointermove', event => {
    const box = chart.getBoundingClientRect(), view = chart.viewBox.baseVal;
    const part = ((event.clientX - box.left) / box.width * view.width - course.left) / (course.right - course.left);
    if (part < 0 || part > 1) return hide();
    const at = course.ms[0] + part * (course.ms[course.ms.length - 1] - course.ms[0]);
    let low = 0, high = course.ms.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (course.ms[mid] <= at) low = mid; else high = mid - 1; }
    const moment = new Date(course.ms[low]).toISOString().replace('T', ' ').replace('Z', '');
    const rows = Object.entries(course.values).map(([name, values]) => name + '\t' + values[low]);
    told.textContent = [moment, ...rows].join('\n');
    const x = course.left + part * (course.right - course.left);
    line.setAttribute('d', `M${x} 20V${view.height - 26}`);
    told.style.display = 'block';
    const right = part > 0.7;
    told.style.left = right ? '' : `${event.clientX - box.left + 28}px`;
    told.style.right = right ? `${box.right - event.clientX + 28}px` : '';
    told.style.top = `${Math.min(event.clientY - box.top + 10, box.height - 120)}px`;
  });
}
