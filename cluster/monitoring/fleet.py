"""The dashboard of the fleet and its GPUs: which models are loaded where, and what waits."""

from __future__ import annotations

from cluster.monitoring.panels import (
    BYTES,
    CELSIUS,
    COUNT,
    SHARE,
    WATTS,
    Panel,
    Query,
    Row,
    lines,
    render,
)


def build() -> str:
    """Its JSON."""
    return render(
        "qwen-serve-fleet",
        "qwen-serve / Fleet and GPUs",
        [Row("Models", _models()), Row("GPUs", _gpus()), Row("Machines", _machines())],
    )


def _models() -> list[Panel]:
    return [
        lines(
            "Models by state",
            COUNT,
            Query(
                "sum by (state) (max by (model, state) (ray_qwen_serve_model_state))",
                "{{state}}",
            ),
            stacked=True,
        ),
        lines(
            "Requests that wait for a load",
            COUNT,
            Query("qwen_serve:cold_start_waiting_requests:sum", "{{model}}"),
        ),
        lines(
            "Replicas that failed",
            COUNT,
            Query("qwen_serve:failed_replicas:count", "{{deployment}}"),
            about="Since Ray was started.",
        ),
        lines(
            "GPUs held by models",
            COUNT,
            Query('max by (accelerator) (ray_qwen_serve_fleet_gpus{of="used"})', "{{accelerator}} held"),
            Query('max by (accelerator) (ray_qwen_serve_fleet_gpus{of="total"})', "{{accelerator}} in all"),
        ),
        lines(
            "Replicas wanted",
            COUNT,
            Query("max by (deployment) (ray_serve_autoscaling_target_replicas)", "{{deployment}}"),
            stacked=True,
        ),
        lines(
            "Time of the last starts",
            "ms",
            Query(
                "sum by (deployment) (ray_serve_replica_initialization_latency_ms_sum) "
                "/ sum by (deployment) (ray_serve_replica_initialization_latency_ms_count)",
                "{{deployment}}",
            ),
            about="Mean, of all starts.",
        ),
    ]


def _gpus() -> list[Panel]:
    return [
        lines("Busy", SHARE, Query("qwen_serve:gpu_utilization:ratio", "{{gpu}}")),
        lines("Memory free", SHARE, Query("qwen_serve:gpu_memory_free:ratio", "{{gpu}}")),
        lines("Power", WATTS, Query("DCGM_FI_DEV_POWER_USAGE", "{{Hostname}} {{gpu}}")),
        lines("Temperature", CELSIUS, Query("DCGM_FI_DEV_GPU_TEMP", "{{Hostname}} {{gpu}}")),
        lines(
            "Last XID error",
            COUNT,
            Query("DCGM_FI_DEV_XID_ERRORS", "{{Hostname}} {{gpu}}"),
            about="0: none. NVIDIA's list of XID errors tells what the others mean.",
        ),
        lines(
            "Remapped rows",
            COUNT,
            Query("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "{{Hostname}} {{gpu}} uncorrectable"),
            Query("DCGM_FI_DEV_ROW_REMAP_FAILURE", "{{Hostname}} {{gpu}} failure"),
        ),
    ]


def _machines() -> list[Panel]:
    return [
        lines("CPU", "percent", Query("max by (ip) (ray_node_cpu_utilization)", "{{ip}}")),
        lines("Memory free", BYTES, Query("min by (ip) (ray_node_mem_available)", "{{ip}}")),
        lines("Disk free", BYTES, Query("min by (ip) (ray_node_disk_free)", "{{ip}}")),
    ]
