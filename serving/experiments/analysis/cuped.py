"""CUPED: what members did before the experiment explains part of what they do in it, and is taken out.

Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment
Data", WSDM 2013, section 3.2. Of ratio metrics both ratios are linearised first (one covariate: the linearised ratio
before the exposure), as section 4 of Deng, Knoblich and Lu, KDD 2018, and as tea-tasting does.
"""

from __future__ import annotations

from serving.experiments.analysis.ratio import Arm


def theta_of(pooled: Arm) -> float:
    """Return the factor of the covariate: the slope of outcome on covariate over the members of both arms together; 0
    where nobody's covariate differs (new members only: nothing to adjust by)."""
    return pooled.covariance / pooled.covariate_variance if pooled.covariate_variance > 0 else 0.0
